// Stands in for the source-controller of one cluster, as a process. usage: node flux-source-main.ts KUBECONFIG
import { clientOf } from "./apiserver.ts";
import { FluxSource } from "./kustomize.ts";

const [, , kubeconfig = ""] = process.argv;
const client = await clientOf(kubeconfig);
const source = await FluxSource.startOci(client);
process.once("SIGTERM", () => {
  void source.close().then(() => process.exit(0));
});
