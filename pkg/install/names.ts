/** Where the controller runs. */
export const systemNamespace = "capitan-system";
/** The controller's ServiceAccount, and the name of all that belongs to it. */
export const controllerAccount = "capitan-controller";
/**
 * The roles of the controller; in its own namespace, which may be a platform namespace too, several
 * are wanted.
 */
export const roleNames = {
  own: controllerAccount,
  platform: `${controllerAccount}-platform`,
  management: `${controllerAccount}-management`,
  managementPlatform: `${controllerAccount}-management-platform`,
} as const;
/** On everything that is installed. */
export const labels = { "app.kubernetes.io/part-of": "capitan" };
/** On the controller's pods. */
export const podLabels = { ...labels, "app.kubernetes.io/name": controllerAccount };
