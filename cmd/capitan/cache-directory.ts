import { homedir } from "node:os";
import { join } from "node:path";

/** Where the CLI keeps artifacts that it has pulled: `$XDG_CACHE_HOME/capitan/artifacts`. */
export function cacheDirectory(env = process.env): string {
  return join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "capitan", "artifacts");
}
