// Flux's own kustomize-controller as a process, and what stands in for the source-controller beside it.
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import { messageOf } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { parseReference } from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import { serverDir } from "./apiserver.ts";
import { root } from "./paths.ts";
import { launch } from "./processes.ts";
import type { Progress } from "./progress.ts";
import type { LabFile } from "./state.ts";
import { ensureTool } from "./tools.ts";

const fluxResource = (group: string, kind: string, plural: string): Resource => ({
  group: `${group}.toolkit.fluxcd.io`,
  version: "v1",
  kind,
  plural,
  namespaced: true,
});

/** The kinds of Flux that kustomize-controller reads. */
export const fluxResources = {
  kustomization: fluxResource("kustomize", "Kustomization", "kustomizations"),
  gitRepository: fluxResource("source", "GitRepository", "gitrepositories"),
  ociRepository: fluxResource("source", "OCIRepository", "ocirepositories"),
} as const;

type Named = { readonly namespace: string; readonly name: string };

/** The source, and the Kustomization, by which a cluster's own Flux pulls what its Fleet says. */
export const fluxSync: Named = { namespace: "flux-system", name: "flux-system" };

type KustomizeOptions = {
  readonly progress: Progress;
  readonly flags?: readonly string[];
  /** What the process is recorded as: `kustomize-controller` by default. */
  readonly name?: string;
};

/**
 * Starts kustomize-controller against an API server; gives its pid. It listens on a free loopback port
 * and sends events nowhere.
 */
export async function startKustomizeController(
  labDir: string,
  kubeconfigFile: string,
  options: KustomizeOptions,
): Promise<number> {
  return launch(labDir, {
    name: options.name ?? "kustomize-controller",
    command: await ensureTool("kustomize-controller", options.progress),
    args: [
      "--metrics-addr=0",
      "--health-addr=127.0.0.1:0",
      "--watch-all-namespaces",
      "--log-level=info",
      ...(options.flags ?? []),
    ],
    env: { KUBECONFIG: kubeconfigFile, RUNTIME_NAMESPACE: "flux-system" },
  });
}

/**
 * Starts what there is here of a cluster's own Flux, once the cluster has its kinds: a real
 * kustomize-controller, and a stand-in for the source-controller which follows OCIRepository flux-system.
 * Recorded as `kustomize-controller-CLUSTER` and `source-CLUSTER`.
 */
export async function startFlux(lab: LabFile, cluster: string, progress: Progress): Promise<void> {
  const kubeconfig = join(serverDir(lab.dir, cluster), "kubeconfig");
  const name = `kustomize-controller-${cluster}`;
  await startKustomizeController(lab.dir, kubeconfig, { progress, name });
  const args = [join(root, "hack", "lab", "flux-source-main.ts"), kubeconfig];
  await launch(lab.dir, { name: `source-${cluster}`, command: process.execPath, args });
}

type Files = Readonly<Record<string, string>>;

/** What source-controller would do: serves one artifact and writes it into the status of a GitRepository, which is made when it is not there. */
export async function serveArtifact(
  client: KubeClient,
  source: Named,
  files: Files,
): Promise<Server> {
  const archive = await archiveOf(files);
  const server = createServer((_, response) => response.end(archive)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { namespace, name } = source;
  if ((await client.get(fluxResources.gitRepository, source)) === undefined)
    await client.create(fluxResources.gitRepository, {
      apiVersion: "source.toolkit.fluxcd.io/v1",
      kind: "GitRepository",
      metadata: { namespace, name },
      spec: { url: `https://example.com/${name}`, interval: "1h" },
    });
  const revision = `main@sha1:${digestOf(archive).slice(0, 40)}`;
  const resource = fluxResources.gitRepository;
  await announce(client, source, { resource, archive, server, revision, generation: 1 });
  return server;
}

async function archiveOf(files: Files): Promise<Buffer> {
  const entries = Object.entries(files).map(([name, body]) => ({
    header: { name, size: Buffer.byteLength(body) },
    body,
  }));
  return gzipSync(await packTar(entries));
}

const digestOf = (archive: Buffer) => createHash("sha256").update(archive).digest("hex");

/** Where a server has an archive. */
const pathOf = ({ name }: Named, archive: Buffer) =>
  `${name}-${digestOf(archive).slice(0, 12)}.tar.gz`;

type Announced = {
  readonly resource: Resource;
  readonly archive: Buffer;
  readonly server: Server;
  readonly revision: string;
  /** Of the source. */
  readonly generation: number;
};

/** Writes an artifact into the status of a source, which is Ready then. */
async function announce(
  client: KubeClient,
  source: Named,
  { resource, archive, server, revision, generation }: Announced,
): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const path = pathOf(source, archive);
  const lastUpdateTime = new Date().toISOString().replace(/\.\d+/, "");
  const artifact = {
    url: `http://127.0.0.1:${port}/${path}`,
    path,
    digest: `sha256:${digestOf(archive)}`,
    lastUpdateTime,
    revision,
    size: archive.length,
  };
  const ready = {
    type: "Ready",
    status: "True",
    reason: "Succeeded",
    message: `stored artifact for ${revision}`,
    lastTransitionTime: lastUpdateTime,
    observedGeneration: generation,
  };
  const status = { artifact, observedGeneration: generation, conditions: [ready] };
  await client.mergePatch(resource, source, { status }, { subresource: "status" });
}

/** What the stand-in needs of a Git repository. */
type Commits = {
  fetch(
    request: { readonly commit: string; readonly path: string; readonly ref: object },
    signal?: AbortSignal,
  ): Promise<Fetched>;
};
type Fetched = ReadonlyMap<string, { readonly content: Buffer }>;

/** How one kind of source is followed. */
type Following = {
  readonly resource: Resource;
  /** What a source is pinned to. */
  readonly pinned: (ref: ReturnType<typeof asMap>) => string | undefined;
  /** What Flux calls that. */
  readonly revisionOf: (version: string) => string;
  readonly fetch: (version: string, source: KubeObject) => Promise<Fetched>;
};

const ofGit = (commits: Commits): Following => ({
  resource: fluxResources.gitRepository,
  pinned: ({ commit }) => asString(commit),
  revisionOf: (commit) => `main@sha1:${commit}`,
  fetch: (commit) => commits.fetch({ commit, path: "./", ref: { branch: "main" } }),
});

const ofRegistry: Following = {
  resource: fluxResources.ociRepository,
  pinned: ({ digest }) => asString(digest),
  revisionOf: (digest) => digest,
  fetch: async (digest, source) => {
    const { url, insecure } = asMap(source["spec"]);
    const access = insecure === true ? { insecure } : {};
    const registry = new RegistryClient(parseReference(asString(url) ?? ""), access);
    const nothing = { get: () => Promise.resolve(undefined), put: () => Promise.resolve() };
    try {
      return await registry.pull(digest, nothing);
    } finally {
      await registry.close();
    }
  },
};

/** Stands in for the source-controller of one cluster: serves what its source flux-system is pinned to, and the next when that is another one. */
export class FluxSource {
  readonly #archives = new Map<string, Buffer>();
  readonly #stopping = new AbortController();
  readonly #server: Server;
  #served = "";
  #said = "";
  #work: Promise<void> = Promise.resolve();

  private constructor() {
    this.#server = createServer((request, response) =>
      response.end(this.#archives.get(request.url ?? "")),
    );
  }

  /** Follows a GitRepository. */
  static start(client: KubeClient, commits: Commits): Promise<FluxSource> {
    return FluxSource.#begin(client, ofGit(commits));
  }

  /** Follows an OCIRepository. */
  static startOci(client: KubeClient): Promise<FluxSource> {
    return FluxSource.#begin(client, ofRegistry);
  }

  static async #begin(client: KubeClient, following: Following): Promise<FluxSource> {
    const source = new FluxSource();
    source.#server.listen(0, "127.0.0.1");
    await new Promise((resolve) => source.#server.once("listening", resolve));
    source.#work = source.#follow(client, following);
    return source;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
    this.#server.close();
  }

  async #follow(client: KubeClient, following: Following): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      // A cluster may be away, a commit not there yet: the next look tells.
      await this.#serve(client, following).catch((error: unknown) => this.#say(messageOf(error)));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** The same once. */
  #say(what: string): void {
    if (what !== this.#said) console.error(`source of Flux: ${what}`);
    this.#said = what;
  }

  async #serve(client: KubeClient, following: Following): Promise<void> {
    const { resource, pinned, revisionOf, fetch } = following;
    const found = await client.get(resource, fluxSync);
    const version = pinned(asMap(asMap(found?.["spec"])["ref"]));
    if (found === undefined || version === undefined) return;
    const { generation = 1 } = found.metadata;
    if (this.#served === `${version} ${generation}`) return;
    const files = await fetch(version, found);
    const archive = await archiveOf(
      Object.fromEntries([...files].map(([path, { content }]) => [path, content.toString()])),
    );
    this.#archives.set(`/${pathOf(fluxSync, archive)}`, archive);
    const revision = revisionOf(version);
    const server = this.#server;
    await announce(client, fluxSync, { resource, archive, server, revision, generation });
    this.#served = `${version} ${generation}`;
  }
}
