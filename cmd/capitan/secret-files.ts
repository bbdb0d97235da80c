import { open, lstat, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Options } from "yargs";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { formatOf, formats, isEncrypted, SopsError, type Format } from "../../pkg/sops/index.ts";

/** Options of every command on secret files. */
export const secretOptions = {
  "input-type": { choices: formats, describe: "Format of the files, by default by their names" },
} as const satisfies Record<string, Options>;

/** The files and directories, as the last words. */
export const pathsOption = {
  type: "string",
  array: true,
  demandOption: true,
  describe: "Files, and directories with all files below them",
} as const satisfies Options;

export type FileArguments = { readonly "input-type"?: Format | undefined };

/** A file that was named, or found in a directory that was. */
export type SecretFile = { readonly path: string; readonly format: Format; readonly bytes: Buffer };

const filesMax = 100_000;
const fileBytesMax = 32 * 1024 * 1024;
const skipped = new Set([".git", "node_modules", ".sops.yaml", ".sops.yml"]);

/** Reads one file. Throws FileInvalid. */
export async function readSecret(path: string, args: FileArguments): Promise<SecretFile> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new CapitanError("FileInvalid", messageOf(error));
  });
  return { path, bytes, format: args["input-type"] ?? formatOf(path) };
}

/**
 * The files behind paths, one after the other: a file that is named in any case, of a directory those
 * that `wanted` chooses. Links in directories are not followed. Throws FileInvalid.
 */
export async function* secretFiles(
  paths: readonly string[],
  args: FileArguments,
  wanted: (file: SecretFile) => boolean = ({ bytes, format }) => isEncrypted(bytes, format),
): AsyncGenerator<SecretFile> {
  for (const path of paths) {
    if (!(await isDirectory(path))) {
      yield await readSecret(path, args);
      continue;
    }
    for (const name of await filesBelow(path)) {
      const file = await readSecret(name, args);
      if (wanted(file)) yield file;
    }
  }
}

async function isDirectory(path: string): Promise<boolean> {
  const info = await stat(path).catch((error: unknown) => {
    throw new CapitanError("FileInvalid", messageOf(error));
  });
  return info.isDirectory();
}

async function filesBelow(directory: string): Promise<readonly string[]> {
  const found: string[] = [];
  const queue = [directory];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      if (skipped.has(entry.name)) continue;
      const path = join(at, entry.name);
      if (entry.isDirectory()) queue.push(path);
      else if (entry.isFile() && (await lstat(path)).size <= fileBytesMax) found.push(path);
    }
    if (found.length > filesMax)
      throw new CapitanError("FileInvalid", `${directory}: more than ${filesMax} files`);
  }
  return found.sort();
}

/**
 * Puts new bytes in the place of a file, all or nothing: a new file beside it, on the disk before it
 * takes the name. The mode stays. A link keeps pointing to where it points.
 */
export async function replaceFile(path: string, bytes: Buffer): Promise<void> {
  const { mode } = await stat(path);
  const target = await realTarget(path);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.capitan`);
  try {
    const handle = await open(temporary, "wx", mode & 0o7777);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(mode & 0o7777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new CapitanError("FileInvalid", messageOf(error), { cause: error });
  }
  await syncDirectory(dirname(target));
}

async function realTarget(path: string): Promise<string> {
  const { realpath } = await import("node:fs/promises");
  return realpath(resolve(path));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Runs a command on secrets, which ends as sops does when it fails. */
export async function asSops(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof SopsError) process.exitCode = error.status;
    throw error;
  }
}

/** Says which file it was. */
export async function onFile<T>(path: string, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCapitanError(error)) throw error.within(path);
    throw error;
  }
}
