/** One workload cluster as the reconcilers see it: its inventory, its objects, its health. */
export { Workload } from "./workload.ts";
export { Connections, type ConnectRequest } from "./connections.ts";
