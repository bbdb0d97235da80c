import ssh2 from "ssh2";
import type { GitLocation } from "../../pkg/gitdata/index.ts";

export type DeployKey = { readonly private: string; readonly public: string };

/**
 * A new ed25519 key pair in OpenSSH's form. ssh2 drops a leading zero of the public half now and
 * then, and then cannot read the pair itself: such a one is thrown away.
 */
export function newDeployKey(comment: string): DeployKey {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync("ed25519", { comment });
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}

/** Where the owner of a repository adds a deploy key. */
export function deployKeyPage({ host, path }: GitLocation): string {
  const base = `https://${host}${path.replace(/\.git$/, "")}`;
  const github = `${base}/settings/keys/new`;
  const gitlab = `${base}/-/settings/repository`;
  const gitea = `${base}/settings/keys`;
  if (host === "github.com") return `${github} ("Allow write access" stays off)`;
  if (host === "gitlab.com") return `${gitlab}, Deploy keys ("Grant write permissions" stays off)`;
  if (host === "codeberg.org" || host === "gitea.com")
    return `${gitea} ("Enable write access" stays off)`;
  return `the repository's settings: GitHub ${github}, GitLab ${gitlab}, Gitea ${gitea}`;
}
