// The lab's own Cluster API provider, a process: every LabControlPlane becomes one real kube-apiserver
// with its own CA and its own prefix in the shared etcd. It fulfils contract v1beta2 with a dozen
// fields. usage: node provider.ts LAB_DIR
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  connect,
  Informer,
  isConflict,
  isNotFound,
  type KubeClient,
} from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { type Resource } from "../../pkg/object/index.ts";
import { messageOf } from "../../pkg/errors/index.ts";
import { asList, asMap, asNumber, asString } from "../../pkg/json/index.ts";
import { type KubeObject } from "../../pkg/object/index.ts";
import { clientOf, serverDir, serverProcess, startApiServer } from "./apiserver.ts";
import { deleteBelow, etcdPortOf, prefixOf } from "./etcd.ts";
import { pidOf, recorded, stop } from "./processes.ts";
import { resources } from "./resources.ts";
import { readLab, type LabFile } from "./state.ts";
import { ensureTools, type Tools } from "./tools.ts";
import { silent } from "./progress.ts";

const finalizer = "lab.capitan.dev/apiserver";
/** On a LabControlPlane: the directory of the lab that its API server belongs to, wherever it is moved. */
const homeAnnotation = "lab.capitan.dev/home";
/** clusterctl says by this that the object goes on elsewhere; it takes the finalizers away itself. */
const movedAnnotation = "clusterctl.cluster.x-k8s.io/delete-for-move";
/** API servers that start at once; more only makes all of them slower on two cores. */
const startsMax = 3;
const pausedRetryMs = 1_000;
const failedRetryMs = 200;
const adoptMs = 5_000;

type Server = { readonly port: number; started?: Promise<string> };

/** Does what an object needs; says after how many milliseconds it has to look again, 0 for never. */
type Handler = (object: KubeObject) => Promise<number>;

class Provider {
  readonly #lab: LabFile;
  readonly #tools: Tools;
  readonly #hub: KubeClient;
  readonly #servers = new Map<string, Server>();
  readonly #busy = new Set<string>();
  readonly #dirty = new Set<string>();
  #starting = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(lab: LabFile, tools: Tools, hub: KubeClient) {
    this.#lab = lab;
    this.#tools = tools;
    this.#hub = hub;
  }

  /** Remembers the API servers that an earlier provider of this lab has started. */
  async recall(): Promise<void> {
    const { dir } = this.#lab;
    const prefix = serverProcess("");
    for (const entry of await recorded(dir)) {
      const name = entry.slice(prefix.length);
      if (!entry.startsWith(prefix) || name === "hub") continue;
      const file = join(serverDir(dir, name), "kubeconfig");
      const kubeconfig = await readFile(file, "utf8").catch(() => undefined);
      const port = Number(/127\.0\.0\.1:(\d+)/.exec(kubeconfig ?? "")?.[1] ?? 0);
      if (kubeconfig === undefined || port === 0) continue;
      const alive = (await pidOf(dir, entry)) !== undefined;
      this.#servers.set(name, alive ? { port, started: Promise.resolve(kubeconfig) } : { port });
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const watch = (resource: Resource, handle: Handler) => {
      const queue = (object: KubeObject, gone: boolean) =>
        void (gone ? this.#forget(object) : this.#handle(resource, object, handle));
      return new Informer(this.#hub, resource, {
        onChange: queue,
        random: Math.random,
        onError: (e) => console.error(messageOf(e)),
      });
    };
    const clusters = watch(resources.labCluster, (o) => this.#infrastructure(o));
    const controlPlanes = watch(resources.labControlPlane, (o) => this.#controlPlane(o));
    await Promise.all([clusters.run(signal), controlPlanes.run(signal)]);
  }

  /** One object at a time, always at its newest state, again after a failure. */
  async #handle(resource: Resource, { metadata }: KubeObject, handle: Handler): Promise<void> {
    const key = `${resource.kind}/${metadata.namespace ?? ""}/${metadata.name}`;
    this.#dirty.add(key);
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    while (this.#dirty.delete(key)) {
      let againMs = 0;
      try {
        const object = await this.#hub.get(resource, metadata);
        if (object !== undefined) againMs = await handle(object);
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error)) console.error(`${key}: ${messageOf(error)}`);
        againMs = failedRetryMs;
      }
      if (againMs === 0) continue;
      await new Promise((resolve) => setTimeout(resolve, againMs));
      this.#dirty.add(key);
    }
    this.#busy.delete(key);
  }

  async #infrastructure(object: KubeObject): Promise<number> {
    const name = clusterOf(object);
    if (
      name === undefined ||
      object.metadata.deletionTimestamp !== undefined ||
      isProvisioned(object)
    )
      return 0;
    if (await this.#isPaused(object, name)) return pausedRetryMs;
    const server = this.#serverOf(name, object);
    if (asMap(object["spec"])["controlPlaneEndpoint"] === undefined) {
      await this.#patch(resources.labCluster, object, {
        spec: { controlPlaneEndpoint: { host: "127.0.0.1", port: server.port } },
      });
    }
    // CAPI dials as soon as this is set, and waits 30 s after a failed dial: so the API server comes first.
    await this.#start(object, name, server);
    await this.#status(resources.labCluster, object, {
      initialization: { provisioned: true },
      conditions: [condition("Ready")],
    });
    return 0;
  }

  async #controlPlane(object: KubeObject): Promise<number> {
    const { metadata } = object;
    const name = clusterOf(object) ?? metadata.labels?.["cluster.x-k8s.io/cluster-name"];
    if (metadata.deletionTimestamp !== undefined)
      return this.#remove(object, name ?? metadata.name);
    if (name === undefined || isInitialized(object)) return 0;
    if (await this.#isPaused(object, name)) return pausedRetryMs;
    await this.#initialize(object, name);
    return 0;
  }

  async #initialize(object: KubeObject, name: string): Promise<void> {
    const { metadata } = object;
    const finalizers = metadata.finalizers ?? [];
    if (!finalizers.includes(finalizer)) {
      const annotations = { [homeAnnotation]: homeOf(object) ?? this.#lab.dir };
      const patch = { metadata: { finalizers: [...finalizers, finalizer], annotations } };
      await this.#patch(resources.labControlPlane, object, patch);
    }
    const infrastructure = await this.#hub.get(resources.labCluster, metadata);
    const server = this.#serverOf(name, infrastructure ?? object);
    const kubeconfig = await this.#start(object, name, server);
    await this.#writeKubeconfig(object, name, kubeconfig);
    await this.#status(resources.labControlPlane, object, {
      initialization: { controlPlaneInitialized: true },
      externalManagedControlPlane: true,
      version: asMap(object["spec"])["version"],
      conditions: [condition("Available")],
    });
  }

  async #writeKubeconfig(owner: KubeObject, name: string, kubeconfig: string): Promise<void> {
    const { namespace } = owner.metadata;
    const ownerReference = {
      apiVersion: "controlplane.cluster.x-k8s.io/v1",
      kind: "LabControlPlane",
      name: owner.metadata.name,
      uid: owner.metadata.uid,
      controller: true,
      blockOwnerDeletion: true,
    };
    const metadata = {
      name: `${name}-kubeconfig`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { "cluster.x-k8s.io/cluster-name": name },
      ownerReferences: [ownerReference],
    };
    const data = { value: Buffer.from(kubeconfig).toString("base64") };
    try {
      await this.#hub.create(resources.secret, {
        apiVersion: "v1",
        kind: "Secret",
        type: "cluster.x-k8s.io/secret",
        metadata,
        data,
      });
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }

  async #remove(object: KubeObject, name: string): Promise<number> {
    if (isMoved(object) || !(object.metadata.finalizers ?? []).includes(finalizer)) return 0;
    if (await this.#isPaused(object, name)) return pausedRetryMs;
    const home = homeOf(object) ?? this.#lab.dir;
    // Without its lab a moved API server is gone already.
    const lab = home === this.#lab.dir ? this.#lab : await readLab(home).catch(() => undefined);
    if (lab !== undefined) {
      await stop(lab.dir, serverProcess(name));
      await deleteBelow(etcdPortOf(lab, name), prefixOf(name));
    }
    this.#servers.delete(name);
    await this.#patch(resources.labControlPlane, object, {
      metadata: { finalizers: null, resourceVersion: object.metadata.resourceVersion },
    });
    return 0;
  }

  /** As every controller of Cluster API: what belongs to a paused Cluster is left alone, also when deleted. */
  async #isPaused({ metadata }: KubeObject, name: string): Promise<boolean> {
    const { namespace } = metadata;
    const place = { name, ...(namespace === undefined ? {} : { namespace }) };
    const cluster = await this.#hub.get(resources.cluster, place);
    return asMap(cluster?.["spec"])["paused"] === true;
  }

  /** A control plane that went to another hub may come back, or end there: its API server is looked at anew then. */
  #forget(object: KubeObject): void {
    const name = clusterOf(object);
    const server = name === undefined ? undefined : this.#servers.get(name);
    if (isMoved(object)) delete server?.started;
  }

  #serverOf(name: string, object: KubeObject): Server {
    const held = this.#servers.get(name);
    if (held !== undefined) return held;
    const taken = new Set([...this.#servers.values()].map((s) => s.port));
    const announced = asNumber(asMap(asMap(object["spec"])["controlPlaneEndpoint"])["port"]);
    const { firstWorkload, lastWorkload } = this.#lab.ports;
    const free = firstFree(firstWorkload, taken);
    if (announced === undefined && free > lastWorkload)
      throw new Error("the lab has no port left for another cluster");
    const server = { port: announced ?? free };
    this.#servers.set(name, server);
    return server;
  }

  /** Starts or adopts the API server once; both kinds wait for the same start. Gives its kubeconfig. */
  #start({ metadata }: KubeObject, name: string, server: Server): Promise<string> {
    server.started ??= this.#slot(
      async () =>
        (await this.#adopt(metadata.namespace ?? "", name)) ?? this.#launch(name, server.port),
    ).catch((error: unknown) => {
      delete server.started;
      throw error;
    });
    return server.started;
  }

  /** The kubeconfig of an API server that runs already, because its Cluster was moved here. Throws when it does not answer. */
  async #adopt(namespace: string, name: string): Promise<string | undefined> {
    const secret = await this.#hub.get(resources.secret, { namespace, name: `${name}-kubeconfig` });
    const value = asString(asMap(secret?.["data"])["value"]);
    if (value === undefined) return undefined;
    const kubeconfig = Buffer.from(value, "base64").toString();
    const client = connect(parseWorkloadKubeconfig(kubeconfig, name));
    try {
      await client.raw("/readyz", { signal: AbortSignal.timeout(adoptMs) });
    } finally {
      await client.close();
    }
    console.log(`${name} runs already: adopted`);
    return kubeconfig;
  }

  async #launch(name: string, port: number): Promise<string> {
    const { dir, audit, plentyOfMemory } = this.#lab;
    const etcdPort = etcdPortOf(this.#lab, name);
    const options = { name, port, etcdPort, audit, plentyOfMemory };
    const { kubeconfig } = await startApiServer(dir, this.#tools["kube-apiserver"], options);
    console.log(`${name} answers on port ${port}, files in ${serverDir(dir, name)}`);
    return kubeconfig;
  }

  async #slot<T>(work: () => Promise<T>): Promise<T> {
    while (this.#starting >= startsMax)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#starting += 1;
    try {
      return await work();
    } finally {
      this.#starting -= 1;
      this.#waiting.shift()?.();
    }
  }

  #patch(resource: Resource, { metadata }: KubeObject, patch: object) {
    return this.#hub.mergePatch(resource, metadata, patch);
  }

  #status(resource: Resource, { metadata }: KubeObject, status: object) {
    return this.#hub.mergePatch(resource, metadata, { status }, { subresource: "status" });
  }
}

function clusterOf(object: KubeObject): string | undefined {
  const owner = asList(object.metadata.ownerReferences)
    .map(asMap)
    .find((r) => r["kind"] === "Cluster");
  return asString(owner?.["name"]);
}

function firstFree(from: number, taken: ReadonlySet<number>): number {
  let port = from;
  while (taken.has(port)) port += 1;
  return port;
}

/** Whether the status says initialized, at the version that the spec wants. */
function isInitialized(object: KubeObject): boolean {
  const status = asMap(object["status"]);
  const initialized = asMap(status["initialization"])["controlPlaneInitialized"] === true;
  return initialized && status["version"] === asMap(object["spec"])["version"];
}

const isProvisioned = (object: KubeObject) =>
  asMap(asMap(object["status"])["initialization"])["provisioned"] === true;

const condition = (type: string) => ({
  type,
  status: "True",
  reason: type,
  message: "",
  lastTransitionTime: new Date().toISOString().replace(/\.\d+/, ""),
});

const homeOf = (object: KubeObject) => object.metadata.annotations?.[homeAnnotation];

const isMoved = (object: KubeObject) =>
  object.metadata.annotations?.[movedAnnotation] !== undefined;

const lab = await readLab(process.argv[2] ?? "");
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const hub = await clientOf(lab.hubKubeconfig);
const provider = new Provider(lab, await ensureTools(silent), hub);
await provider.recall();
await provider.run(stopping.signal);
await hub.close();
// Objects that wait to be looked at again would keep the process.
process.exit(0);
