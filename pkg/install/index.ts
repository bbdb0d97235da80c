/** What `capitan install` applies to the hub: CRDs, namespace, ServiceAccount, least rights. No I/O. */
export { installManifests, systemNamespace, controllerAccount } from "./manifests.ts";
