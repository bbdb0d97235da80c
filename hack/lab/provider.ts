// The lab's own Cluster API provider, a process: every LabControlPlane becomes one real kube-apiserver
// with its own CA and its own prefix in the shared etcd. It fulfils contract v1beta2 with a dozen
// fields. usage: node provider.ts LAB_DIR
import { join } from "node:path";
import { Informer, isConflict, isNotFound, type KubeClient } from "../../pkg/kube/index.ts";
import { type Resource } from "../../pkg/object/index.ts";
import { messageOf } from "../../pkg/errors/index.ts";
import { asList, asMap, asNumber, asString } from "../../pkg/json/index.ts";
import { type KubeObject } from "../../pkg/object/index.ts";
import { clientOf, serverDir, startApiServer } from "./apiserver.ts";
import { stop } from "./processes.ts";
import { resources } from "./resources.ts";
import { readLab, type LabFile } from "./state.ts";
import { ensureTools, type Tools } from "./tools.ts";
import { silent } from "./progress.ts";

const finalizer = "lab.capitan.dev/apiserver";
/** API servers that start at once; more only makes all of them slower on two cores. */
const startsMax = 3;

type Server = { readonly port: number; started?: Promise<string> };

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

  async run(signal: AbortSignal): Promise<void> {
    const watch = (resource: Resource, handle: (object: KubeObject) => Promise<void>) => {
      const queue = (object: KubeObject, gone: boolean) =>
        void (gone ? undefined : this.#handle(resource, object, handle));
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
  async #handle(
    resource: Resource,
    { metadata }: KubeObject,
    handle: (object: KubeObject) => Promise<void>,
  ): Promise<void> {
    const key = `${resource.kind}/${metadata.namespace ?? ""}/${metadata.name}`;
    this.#dirty.add(key);
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    while (this.#dirty.delete(key)) {
      try {
        const object = await this.#hub.get(resource, metadata);
        if (object !== undefined) await handle(object);
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error)) console.error(`${key}: ${messageOf(error)}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
        this.#dirty.add(key);
      }
    }
    this.#busy.delete(key);
  }

  async #infrastructure(object: KubeObject): Promise<void> {
    const name = clusterOf(object);
    if (
      name === undefined ||
      object.metadata.deletionTimestamp !== undefined ||
      isProvisioned(object)
    )
      return;
    const server = this.#serverOf(name, object);
    if (asMap(object["spec"])["controlPlaneEndpoint"] === undefined) {
      await this.#patch(resources.labCluster, object, {
        spec: { controlPlaneEndpoint: { host: "127.0.0.1", port: server.port } },
      });
    }
    // CAPI dials as soon as this is set, and waits 30 s after a failed dial: so the API server comes first.
    await this.#start(name, server);
    await this.#status(resources.labCluster, object, {
      initialization: { provisioned: true },
      conditions: [condition("Ready")],
    });
  }

  async #controlPlane(object: KubeObject): Promise<void> {
    const { metadata } = object;
    const name = clusterOf(object) ?? metadata.labels?.["cluster.x-k8s.io/cluster-name"];
    if (metadata.deletionTimestamp !== undefined) {
      return this.#remove(object, name ?? metadata.name);
    }
    if (name === undefined || isInitialized(object)) return;
    const finalizers = metadata.finalizers ?? [];
    if (!finalizers.includes(finalizer)) {
      const patch = { metadata: { finalizers: [...finalizers, finalizer] } };
      await this.#patch(resources.labControlPlane, object, patch);
    }
    const infrastructure = await this.#hub.get(resources.labCluster, metadata);
    const kubeconfig = await this.#start(name, this.#serverOf(name, infrastructure ?? object));
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

  async #remove(object: KubeObject, name: string): Promise<void> {
    if (!(object.metadata.finalizers ?? []).includes(finalizer)) return;
    await stop(this.#lab.dir, `apiserver-${name}`);
    await forget(this.#lab.ports.etcd, `/capitan/${name}/`);
    this.#servers.delete(name);
    await this.#patch(resources.labControlPlane, object, {
      metadata: { finalizers: null, resourceVersion: object.metadata.resourceVersion },
    });
  }

  #serverOf(name: string, object: KubeObject): Server {
    const held = this.#servers.get(name);
    if (held !== undefined) return held;
    const taken = new Set([...this.#servers.values()].map((s) => s.port));
    const announced = asNumber(asMap(asMap(object["spec"])["controlPlaneEndpoint"])["port"]);
    const { firstWorkload, lastWorkload } = this.#lab.ports;
    const free = firstFree(firstWorkload, taken);
    const port = announced ?? free;
    if (port > lastWorkload) throw new Error("the lab has no port left for another cluster");
    const server = { port };
    this.#servers.set(name, server);
    return server;
  }

  /** Starts the API server once; both kinds wait for the same start. Gives its kubeconfig. */
  #start(name: string, server: Server): Promise<string> {
    server.started ??= this.#slot(async () => {
      const options = { name, port: server.port, etcdPort: this.#lab.ports.etcd };
      const { kubeconfig } = await startApiServer(
        this.#lab.dir,
        this.#tools["kube-apiserver"],
        options,
      );
      console.log(
        `${name} answers on port ${server.port}, files in ${join(serverDir(this.#lab.dir, name))}`,
      );
      return kubeconfig;
    }).catch((error: unknown) => {
      delete server.started;
      throw error;
    });
    return server.started;
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

/** Deletes everything below a prefix from etcd. */
async function forget(etcdPort: number, prefix: string): Promise<void> {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const body = JSON.stringify({
    key: base64(prefix),
    range_end: base64(prefix.replace(/\/$/, "0")),
  });
  const response = await fetch(`http://127.0.0.1:${etcdPort}/v3/kv/deleterange`, {
    method: "POST",
    body,
  });
  if (!response.ok) throw new Error(`etcd refused to forget ${prefix}: ${response.status}`);
}

const lab = await readLab(process.argv[2] ?? "");
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const hub = await clientOf(lab.hubKubeconfig);
await new Provider(lab, await ensureTools(silent), hub).run(stopping.signal);
await hub.close();
