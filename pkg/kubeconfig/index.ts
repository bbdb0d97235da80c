/** Kubeconfigs as data: the strict parser for foreign ones, the context of our own. No I/O. */
export { expiryOf, parseWorkloadKubeconfig } from "./workload.ts";
export { contextNames, selectContext, type Kubeconfig } from "./context.ts";
export type { ConnectionConfig, Credentials } from "./config.ts";
