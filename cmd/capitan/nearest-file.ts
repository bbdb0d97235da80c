import { access } from "node:fs/promises";
import { dirname, join } from "node:path";

const parentsMax = 100;

/** The file of this name in the working directory or the nearest one above it. */
export async function nearestFile(name: string): Promise<string | undefined> {
  let directory = process.cwd();
  for (let i = 0; i < parentsMax; i++) {
    const path = join(directory, name);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
    if (dirname(directory) === directory) return undefined;
    directory = dirname(directory);
  }
  return undefined;
}
