// Flux's own kustomize-controller as a process, and what stands in for the source-controller beside it.
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import type { KubeClient } from "../../pkg/kube/index.ts";
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

/**
 * Starts kustomize-controller against an API server, recorded as `kustomize-controller`; gives its
 * pid. It listens on a free loopback port and sends events nowhere.
 */
export async function startKustomizeController(
  labDir: string,
  kubeconfigFile: string,
  options: { readonly progress: Progress; readonly flags?: readonly string[] },
): Promise<number> {
  return launch(labDir, {
    name: "kustomize-controller",
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

/** What source-controller would do: serves one artifact and writes it into the status of a GitRepository, which is made when it is not there. */
export async function serveArtifact(
  client: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  files: Readonly<Record<string, string>>,
): Promise<Server> {
  const archive = gzipSync(
    await packTar(
      Object.entries(files).map(([name, body]) => ({
        header: { name, size: Buffer.byteLength(body) },
        body,
      })),
    ),
  );
  const server = createServer((_, response) => response.end(archive)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  if ((await client.get(fluxResources.gitRepository, { namespace, name })) === undefined)
    await client.create(fluxResources.gitRepository, {
      apiVersion: "source.toolkit.fluxcd.io/v1",
      kind: "GitRepository",
      metadata: { namespace, name },
      spec: { url: `https://example.com/${name}`, interval: "1h" },
    });
  const digest = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
  const artifact = {
    url: `http://127.0.0.1:${port}/${name}.tar.gz`,
    path: `${name}.tar.gz`,
    digest,
    lastUpdateTime: new Date().toISOString(),
    revision: `main@sha1:${digest.slice(7, 47)}`,
    size: archive.length,
  };
  const status = { status: { artifact } };
  await client.mergePatch(fluxResources.gitRepository, { namespace, name }, status, {
    subresource: "status",
  });
  return server;
}
