/** Where our processes run. */
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
/** The same for the receiver. */
export const receiverAccount = "capitan-receiver";
/** The controller's rights in a tenant's namespace. */
export const tenantRole = `${controllerAccount}-tenant`;
/** How Roles begin by which the controller may act as one account. */
export const actingRole = `${controllerAccount}-as-`;
/** On everything that is installed. */
export const labels = { "app.kubernetes.io/part-of": "capitan" };

/** On the pods of a process. */
export function podLabelsOf(account: string): Readonly<Record<string, string>> {
  return { ...labels, "app.kubernetes.io/name": account };
}
/** On the controller's pods. */
export const podLabels = podLabelsOf(controllerAccount);
