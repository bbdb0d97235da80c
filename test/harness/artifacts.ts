import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import { buildManifest, digestOf, mediaTypes, parseReference } from "../../pkg/oci/index.ts";
import { ArtifactCache, RegistryClient, type RegistryAccess } from "../../pkg/registry/index.ts";

/** Pushes files with Capitan's own client. Gives the manifest's digest. */
export async function pushFiles(
  url: string,
  files: Readonly<Record<string, string>>,
  access: RegistryAccess = { insecure: true },
): Promise<string> {
  const reference = parseReference(url);
  const client = new RegistryClient(reference, access);
  const contents = Object.entries(files).map(
    ([name, text]) => [name, { content: Buffer.from(text) }] as const,
  );
  const { digest } = await client.push(new Map(contents), reference.tag ?? "latest", {
    "org.opencontainers.image.source": "test",
  });
  await client.close();
  return digest;
}

/** Pushes a layer of any bytes to a plain-HTTP registry with bare requests, as a hostile pusher would. */
export async function pushLayer(url: string, layer: Uint8Array, more: object = {}): Promise<void> {
  const { host, repository, tag = "latest" } = parseReference(url);
  const { manifest, config } = buildManifest(layer, {});
  for (const blob of [config, layer]) {
    const start = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    const location = new URL(start.headers.get("location") ?? "", `http://${host}`);
    location.searchParams.set("digest", digestOf(blob));
    const reply = await fetch(location, {
      method: "PUT",
      body: new Uint8Array(blob),
      headers: { "content-type": "application/octet-stream" },
    });
    if (reply.status !== 201) throw new Error(`blob: ${reply.status}`);
  }
  const body = JSON.stringify({ ...(JSON.parse(manifest.toString()) as object), ...more });
  const reply = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, {
    method: "PUT",
    body,
    headers: { "content-type": mediaTypes.manifest },
  });
  if (reply.status !== 201) throw new Error(`manifest: ${reply.status}`);
}

type Entries = Parameters<typeof packTar>[0];

/** A tar+gzip layer of any entries. */
export async function layerOf(entries: Entries): Promise<Uint8Array> {
  return gzipSync(await packTar(entries));
}

/** A cache that is gone with the test's directory. */
export const cacheIn = (dir: string) => new ArtifactCache(dir, () => undefined);
