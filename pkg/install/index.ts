/** What `capitan install` applies to the hub, and what `capitan uninstall` takes away. No I/O. */
export { installManifests, groundManifests } from "./manifests.ts";
export { tenantManifests, tenantOnCluster, type TenantOptions } from "./tenant.ts";
export { systemNamespace, controllerAccount, podLabels } from "./names.ts";
export { removedKinds, installedSelector, isInstalled } from "./removal.ts";
export type { ProcessOptions } from "./process.ts";
