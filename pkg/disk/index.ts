/** Files that may be lost at any time: caches on disk. */
export { DiskCache } from "./disk-cache.ts";
