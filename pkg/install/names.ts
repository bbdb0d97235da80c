/** Where the controller runs. */
export const systemNamespace = "capitan-system";
/** The controller's ServiceAccount, and the name of all that belongs to it. */
export const controllerAccount = "capitan-controller";
/** The controller's rights in a tenant's namespace. */
export const tenantRole = `${controllerAccount}-tenant`;
/** How Roles begin by which the controller may act as one account. */
export const actingRole = `${controllerAccount}-as-`;
/** On everything that is installed. */
export const labels = { "app.kubernetes.io/part-of": "capitan" };
/** On the controller's pods. */
export const podLabels = { ...labels, "app.kubernetes.io/name": controllerAccount };
