/** One workload cluster as the reconcilers see it: its inventory, its objects, its health. */
export { Connections, type ConnectRequest } from "./connections.ts";
export { dialError } from "./workload.ts";
