// Flux's own kustomize-controller as a process, and what stands in for the source-controller beside it.
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { launch } from "./processes.ts";
import type { Progress } from "./progress.ts";
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
} as const;

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

type Named = { readonly namespace: string; readonly name: string };
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
  await announce(client, source, { archive, server, commit: undefined });
  return server;
}

async function archiveOf(files: Files): Promise<Buffer> {
  const entries = Object.entries(files).map(([name, body]) => ({
    header: { name, size: Buffer.byteLength(body) },
    body,
  }));
  return gzipSync(await packTar(entries));
}

/** Writes an artifact into the status, under a commit or under a name made from its bytes. */
async function announce(
  client: KubeClient,
  source: Named,
  {
    archive,
    server,
    commit,
  }: { readonly archive: Buffer; readonly server: Server; readonly commit: string | undefined },
): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const digest = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
  const path = `${source.name}-${digest.slice(7, 19)}.tar.gz`;
  const artifact = {
    url: `http://127.0.0.1:${port}/${path}`,
    path,
    digest,
    lastUpdateTime: new Date().toISOString(),
    revision: `main@sha1:${commit ?? digest.slice(7, 47)}`,
    size: archive.length,
  };
  const status = { status: { artifact } };
  await client.mergePatch(fluxResources.gitRepository, source, status, { subresource: "status" });
}

/** What the stand-in needs of a Git repository. */
type Commits = {
  fetch(
    request: { readonly commit: string; readonly path: string; readonly ref: object },
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, { readonly content: Buffer }>>;
};

/** Stands in for the source-controller of one cluster: serves the commit that its GitRepository flux-system names, and the next when it names another. */
export class FluxSource {
  readonly #archives = new Map<string, Buffer>();
  readonly #stopping = new AbortController();
  readonly #server: Server;
  #work: Promise<void> = Promise.resolve();

  private constructor() {
    this.#server = createServer((request, response) =>
      response.end(this.#archives.get(request.url ?? "")),
    );
  }

  static async start(client: KubeClient, commits: Commits): Promise<FluxSource> {
    const source = new FluxSource();
    source.#server.listen(0, "127.0.0.1");
    await new Promise((resolve) => source.#server.once("listening", resolve));
    source.#work = source.#follow(client, commits);
    return source;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
    this.#server.close();
  }

  async #follow(client: KubeClient, commits: Commits): Promise<void> {
    const source = { namespace: "flux-system", name: "flux-system" };
    let served = "";
    while (!this.#stopping.signal.aborted) {
      const found = await client.get(fluxResources.gitRepository, source);
      const commit = asString(asMap(asMap(asMap(found)["spec"])["ref"])["commit"]);
      if (commit !== undefined && commit !== served) {
        const files = await commits.fetch({ commit, path: "./", ref: { branch: "main" } });
        const archive = await archiveOf(
          Object.fromEntries([...files].map(([path, { content }]) => [path, content.toString()])),
        );
        const digest = createHash("sha256").update(archive).digest("hex");
        this.#archives.set(`/${source.name}-${digest.slice(0, 12)}.tar.gz`, archive);
        await announce(client, source, { archive, server: this.#server, commit });
        served = commit;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
