/** Git repositories over HTTPS and SSH: what a reference means now, the files of a commit, one commit more, and the cache of what was fetched. */
export { GitRepository, type GitRepositoryOptions, type FetchRequest } from "./repository.ts";
export type { Proposal, Published, PublishRequest, Tip } from "./publish.ts";
export type { Edit, Person } from "../gitobjects/index.ts";
export { HttpTransport } from "./http.ts";
export { SshTransport } from "./ssh.ts";
export { PackCache } from "./cache.ts";
export type { GitAccess, GitReply, GitRequest, GitTransport } from "./transport.ts";
