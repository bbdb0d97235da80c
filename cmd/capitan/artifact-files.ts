import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import type { ArtifactFile, ArtifactFiles } from "../../pkg/oci/index.ts";
import { ignoredByPush } from "./ignored-by-push.ts";

/** Regular files below a path, or one file. Links and specials are left out, as Flux does. Throws FileInvalid. */
export async function readFiles(path: string): Promise<ArtifactFiles> {
  const info = await stat(path).catch((error: unknown) => {
    throw new CapitanError("FileInvalid", `cannot read ${path}: ${messageOf(error)}`);
  });
  if (info.isFile()) return new Map([[basename(path), await readOne(path)]]);
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name).slice(join(path).replace(/\/$/, "").length + 1),
    );
  const kept = names.filter((name) => !ignoredByPush(name)).sort();
  if (kept.length === 0)
    throw new CapitanError("FileInvalid", `${path} contains no file for an artifact`);
  return new Map(
    await Promise.all(kept.map(async (name) => [name, await readOne(join(path, name))] as const)),
  );
}

async function readOne(file: string): Promise<ArtifactFile> {
  const { mode } = await stat(file);
  return { content: await readFile(file), executable: (mode & 0o100) !== 0 };
}

/**
 * Writes files into a directory that does not exist or is empty: all of them or none, and nothing
 * that is there can lead them elsewhere. Throws FileInvalid.
 */
export async function writeFiles(path: string, files: ArtifactFiles): Promise<void> {
  const target = resolve(path);
  try {
    await mkdir(dirname(target), { recursive: true });
    const temporary = await mkdtemp(`${target}.`);
    try {
      for (const [name, file] of files) {
        const mode = file.executable === true ? 0o755 : 0o644;
        await mkdir(dirname(join(temporary, name)), { recursive: true });
        await writeFile(join(temporary, name), file.content, { mode, flag: "wx" });
      }
      await rename(temporary, target);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    const isTaken = ["ENOTEMPTY", "EEXIST"].includes((error as { code?: string }).code ?? "");
    const why = isTaken ? "it is not empty" : messageOf(error);
    throw new CapitanError("FileInvalid", `cannot write to ${path}: ${why}`, { cause: error });
  }
}
