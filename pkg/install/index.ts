/** What `capitan install` applies to the hub, and what `capitan uninstall` takes away. No I/O. */
export {
  installManifests,
  groundManifests,
  tokenSecretsDefault,
  type InstallOptions,
} from "./manifests.ts";
export { tenantManifests, tenantOnCluster, type TenantOptions } from "./tenant.ts";
export { systemNamespace, controllerAccount, receiverAccount, podLabels } from "./names.ts";
export { removedKinds, installedSelector, isInstalled } from "./removal.ts";
export type { RightsOptions } from "./rights.ts";
