import { fluxManifests } from "../../hack/flux-manifests.ts";
import { serveDefinitions } from "../../hack/lab/managers.ts";
import { assertAlive, launch } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { Discovery } from "../../pkg/kube/index.ts";
import { parseManifests, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { until } from "./index.ts";
import { accountKubeconfig, type OwnHub } from "./own-hub.ts";

const namespace = "flux-system";
const kind = (kind: string, plural: string): Resource => ({
  group: "notification.toolkit.fluxcd.io",
  version: "v1beta3",
  kind,
  plural,
  namespaced: true,
});

/** Its kinds that tell people. */
export const notificationResources = {
  alert: kind("Alert", "alerts"),
  provider: kind("Provider", "providers"),
} as const;

/** What its process is recorded as. */
export const notificationProcess = "notification-controller";

/** What Flux installs for it: its CRDs, and the rights of its account. */
export async function installNotification(hub: OwnHub): Promise<void> {
  const objects = parseManifests((await fluxManifests()).text, "flux");
  const definitions = objects.filter(({ metadata }) =>
    metadata.name.endsWith(".notification.toolkit.fluxcd.io"),
  );
  const rights = /^(?:Namespace|ServiceAccount|ClusterRole|ClusterRoleBinding)$/;
  const discovery = new Discovery(hub.client);
  for (const object of objects.filter(({ kind }) => rights.test(kind))) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    if (resource === undefined) throw new Error(`the hub does not serve ${object.kind}`);
    await hub.client.apply(resource, object, { manager: "flux", metadataOnly: true });
  }
  await serveDefinitions(hub.client, definitions);
}

/** Starts Flux's own notification-controller with the rights that Flux gives it; it takes events at the address that this gives. */
export async function startNotificationController(
  lab: LabFile,
  hub: OwnHub,
  port: number,
): Promise<string> {
  const account = { namespace, name: "notification-controller" };
  await launch(lab.dir, {
    name: notificationProcess,
    command: await ensureTool("notification-controller", silent),
    args: [
      `--events-addr=127.0.0.1:${port}`,
      "--receiverAddr=127.0.0.1:0",
      "--health-addr=127.0.0.1:0",
      "--metrics-addr=0",
      "--watch-all-namespaces=true",
    ],
    env: { KUBECONFIG: await accountKubeconfig(lab, hub, account), RUNTIME_NAMESPACE: namespace },
  });
  const address = `http://127.0.0.1:${port}/`;
  const answers = async () => {
    await assertAlive(lab.dir, notificationProcess);
    return (await fetch(address)).status > 0;
  };
  await until(answers, { deadlineMs: 60_000, what: "notification-controller to listen" });
  return address;
}

/** A CRD of Flux as it comes. */
export async function fluxDefinition(text: string, name: string): Promise<KubeObject> {
  const found = parseManifests(text, "flux").find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`Flux has no ${name}`);
  return found;
}
