import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fluxManifests, fluxVersion } from "../flux-manifests.ts";
import { progress } from "../lab/progress.ts";
import type { LabFile } from "../lab/state.ts";
import { capitan } from "./cli.ts";

/** Flux's own install manifests become an artifact; the CLI does it, as a CI job would. */
export async function pushFlux(lab: LabFile): Promise<void> {
  const { text, origin } = await fluxManifests();
  const dir = join(lab.dir, "flux-manifests");
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "gotk-components.yaml"), text);
  const url = `oci://${lab.registry}/flux-manifests:${fluxVersion}`;
  const source = ["--source", "https://github.com/fluxcd/flux2", "--revision", fluxVersion];
  const said = await capitan(lab, [
    "push",
    "artifact",
    url,
    "--path",
    dir,
    "--insecure",
    ...source,
  ]);
  progress.done(
    `pushed Flux ${fluxVersion} (${Math.round(text.length / 1024)} KiB from ${origin})`,
  );
  progress.done(`  ${said.trim()}`);
}
