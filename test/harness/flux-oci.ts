import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";

const run = promisify(execFile);

/** Runs Flux's own OCI library (hack/tools/flux-oci); gives what it prints, read as JSON. Throws what it says when it fails. */
export async function fluxOci(verb: string, url: string, ...args: string[]): Promise<unknown> {
  const program = await ensureTool("flux-oci", silent);
  const { stdout } = await run(program, [verb, url, ...args], { timeout: 60_000 });
  return JSON.parse(stdout);
}
