/** Reading Git repositories over HTTPS and SSH: what a reference means now, the files of a commit, and the cache of what was fetched. */
export { GitRepository, type GitRepositoryOptions, type FetchRequest } from "./repository.ts";
export { HttpTransport } from "./http.ts";
export { SshTransport } from "./ssh.ts";
export { PackCache } from "./cache.ts";
export type { GitAccess, GitReply, GitRequest, GitTransport } from "./transport.ts";
