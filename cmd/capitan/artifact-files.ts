import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
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
 * Writes files into a directory that does not exist or is empty, so that nothing which is there can
 * lead them elsewhere. They appear when all of them are written. Throws FileInvalid.
 */
export async function writeFiles(path: string, files: ArtifactFiles): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    if ((await readdir(path)).length > 0) throw new Error("it is not empty");
    const temporary = await mkdtemp(join(path, ".capitan-"));
    try {
      for (const [name, file] of files) await writeOne(join(temporary, name), file);
      for (const name of await readdir(temporary))
        await rename(join(temporary, name), join(path, name));
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    throw new CapitanError("FileInvalid", `cannot write to ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function writeOne(file: string, { content, executable }: ArtifactFile): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content, { mode: executable === true ? 0o755 : 0o644, flag: "wx" });
}
