import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Where everything that is built or downloaded goes: outside the repository. */
export const cacheDir = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "capitan");

/** The state of the lab that `npm run lab` and `npm run demo` manage; CAPITAN_LAB_DIR chooses another. */
export const defaultLabDir = process.env["CAPITAN_LAB_DIR"] ?? join(cacheDir, "lab");
