import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { encryptFile, formatOf } from "../../pkg/sops/index.ts";

/**
 * A file as `capitan secrets encrypt` writes it: to these recipients, of a manifest of a Secret only
 * the values.
 */
export async function encrypted(
  text: string,
  path: string,
  recipients: readonly string[],
): Promise<string> {
  const isManifest = /^kind: Secret$/m.test(text);
  const rule = isManifest
    ? { rule: { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const }
    : {};
  const options = { format: formatOf(path), groups: [recipients], ...rule };
  const chance = { random: randomBytes, now: () => new Date() };
  return (await encryptFile(Buffer.from(text), options, chance)).toString();
}

/** What the real sops says to files (text by path) with one identity: its exit statuses. Works below `dir`. */
export async function sopsStatuses(
  identity: string,
  files: Readonly<Record<string, string>>,
  dir: string,
): Promise<Readonly<Record<string, number>>> {
  const sops = await ensureTool("sops", silent);
  const env = { PATH: process.env["PATH"], HOME: dir, SOPS_AGE_KEY: identity };
  const statuses: Record<string, number> = {};
  for (const [path, text] of Object.entries(files)) {
    const file = join(dir, "tree", path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    statuses[path] = await new Promise((resolve) => {
      execFile(sops, ["decrypt", file], { env }, (error) =>
        resolve(error === null ? 0 : Number(error.code)),
      );
    });
  }
  return statuses;
}
