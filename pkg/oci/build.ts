import { digestOf } from "./digest.ts";
import { mediaTypes } from "./manifest.ts";

/** The config blob that Flux 2.9 pushes: constant, since it means nothing. */
const fluxConfig = Buffer.from(
  '{"architecture":"","created":"0001-01-01T00:00:00Z","os":"","rootfs":{"type":"layers","diff_ids":null},"config":{}}',
);

/** The manifest of an artifact with one content layer, and its config blob, as `flux push artifact` writes them. */
export function buildManifest(
  layer: Uint8Array,
  annotations: Readonly<Record<string, string>>,
): { readonly manifest: Buffer; readonly config: Buffer } {
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: {
      mediaType: mediaTypes.fluxConfig,
      size: fluxConfig.length,
      digest: digestOf(fluxConfig),
    },
    layers: [{ mediaType: mediaTypes.fluxContent, size: layer.length, digest: digestOf(layer) }],
    annotations,
  };
  return { manifest: Buffer.from(JSON.stringify(manifest)), config: fluxConfig };
}
