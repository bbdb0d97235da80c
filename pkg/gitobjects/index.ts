/** Git's objects as bytes: packs, directories and commits, read within limits and written. No I/O. */
export { encodePack, packBytesMax, readPack, receivePack, type GitObjects } from "./pack.ts";
export { filesOf } from "./tree.ts";
export { commitOn, type Commit, type Edit, type Person } from "./commit.ts";
