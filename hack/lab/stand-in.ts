// A stand-in for kubelets and the Deployment controller, a process: Deployments of the workload
// clusters turn Available after a delay. There are no nodes and no pods here, so nothing that a real
// pod would do is seen. usage: node stand-in.ts LAB_DIR DELAY|off
import { Informer, connect, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { messageOf } from "../../pkg/errors/index.ts";
import { durationMs } from "../../pkg/api/index.ts";
import { asMap, asNumber, asString } from "../../pkg/json/index.ts";
import { type KubeObject } from "../../pkg/object/index.ts";
import { clientOf } from "./apiserver.ts";
import { standInAnnotation } from "./clusters.ts";
import { resources } from "./resources.ts";
import { readLab } from "./state.ts";

/** Watches the Deployments of one workload cluster and makes each Available when its time has come. */
class StandIn {
  readonly #client: KubeClient;
  readonly #delayMs: () => number | undefined;
  readonly #informer: Informer;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #stopping = new AbortController();

  constructor(kubeconfig: string, delayMs: () => number | undefined) {
    this.#client = connect(parseWorkloadKubeconfig(kubeconfig, "lab"));
    this.#delayMs = delayMs;
    this.#informer = new Informer(this.#client, resources.deployment, {
      onChange: (object, gone) => this.#schedule(object, gone),
      random: Math.random,
    });
  }

  start(): void {
    void this.#informer.run(this.#stopping.signal);
  }

  /** Looks at every Deployment again, because the delay has changed. */
  reconsider(): void {
    for (const object of this.#informer.items()) this.#schedule(object, false);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await this.#client.close();
  }

  #schedule(object: KubeObject, gone: boolean): void {
    const key = object.metadata.uid ?? "";
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    const delayMs = this.#delayMs();
    if (
      gone ||
      delayMs === undefined ||
      asMap(object["status"])["observedGeneration"] === object.metadata.generation
    )
      return;
    this.#timers.set(
      key,
      setTimeout(() => void this.#makeAvailable(object), delayMs),
    );
  }

  async #makeAvailable(object: KubeObject): Promise<void> {
    const replicas = asNumber(asMap(object["spec"])["replicas"]) ?? 1;
    const time = new Date().toISOString().replace(/\.\d+/, "");
    const condition = (type: string, reason: string) => ({
      type,
      status: "True",
      reason,
      message: "stand-in",
      lastUpdateTime: time,
      lastTransitionTime: time,
    });
    const status = {
      observedGeneration: object.metadata.generation,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
      conditions: [
        condition("Available", "MinimumReplicasAvailable"),
        condition("Progressing", "NewReplicaSetAvailable"),
      ],
    };
    await this.#client
      .mergePatch(resources.deployment, object.metadata, { status }, { subresource: "status" })
      .catch((error: unknown) => console.error(messageOf(error)));
  }
}

const [labDir = "", delay = "200ms"] = process.argv.slice(2);
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const hub = await clientOf((await readLab(labDir)).hubKubeconfig);
const standIns = new Map<string, StandIn>();
const keyOf = (namespace = "", name = "") => `${namespace}/${name}`;

const clusters = new Informer(hub, resources.cluster, {
  random: Math.random,
  onChange: ({ metadata }) => standIns.get(keyOf(metadata.namespace, metadata.name))?.reconsider(),
});
const secrets = new Informer(hub, resources.secret, {
  random: Math.random,
  labelSelector: "cluster.x-k8s.io/cluster-name",
  onChange: (secret, gone) => void follow(secret, gone),
});

async function follow(secret: KubeObject, gone: boolean): Promise<void> {
  const { namespace = "", name, labels = {} } = secret.metadata;
  const cluster = labels["cluster.x-k8s.io/cluster-name"] ?? "";
  if (name !== `${cluster}-kubeconfig`) return;
  const key = keyOf(namespace, cluster);
  await standIns.get(key)?.stop();
  standIns.delete(key);
  if (gone) return;
  const kubeconfig = Buffer.from(
    asString(asMap(secret["data"])["value"]) ?? "",
    "base64",
  ).toString();
  try {
    const standIn = new StandIn(kubeconfig, () => delayFor(namespace, cluster));
    standIns.set(key, standIn);
    standIn.start();
  } catch (error) {
    console.error(messageOf(error));
  }
}

function delayFor(namespace: string, cluster: string): number | undefined {
  const wanted =
    clusters.get(namespace, cluster)?.metadata.annotations?.[standInAnnotation] ?? delay;
  return wanted === "off" ? undefined : durationMs(wanted);
}

await Promise.all([clusters.run(stopping.signal), secrets.run(stopping.signal)]);
for (const standIn of standIns.values()) await standIn.stop();
await hub.close();
