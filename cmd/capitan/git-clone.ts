import { isCapitanError } from "../../pkg/errors/index.ts";
import { isSameRepository, parseGitUrl, type GitLocation } from "../../pkg/gitdata/index.ts";
import { gitSays, runProgram, type Ran } from "./git-program.ts";
import { clean } from "./text.ts";

/** What became of a clone after a push. `type` is what a person types to bring it forward. */
export type Forwarded =
  | { readonly kind: "forwarded" }
  | { readonly kind: "left"; readonly why: string; readonly type: string };

type Where = {
  readonly location: GitLocation;
  readonly branch: string;
  readonly commit: string;
  /** What git needs to log in as we did. */
  readonly env: Readonly<Record<string, string>>;
};

/**
 * Brings a clone to a commit that was just pushed, by what loses nothing only: `git fetch`, and
 * `git merge --ff-only`, which refuses when files or commits of the person stand in the way.
 * Undefined where there is no clone of this repository.
 */
export async function bringForward(dir: string, where: Where): Promise<Forwarded | undefined> {
  const remote = await remoteOf(dir, where.location);
  if (remote === undefined) return undefined;
  const { branch } = where;
  const current = await gitSays(["symbolic-ref", "--short", "-q", "HEAD"], { cwd: dir });
  if (current === branch) return fastForward(dir, remote, where);
  const found = current === undefined ? "no branch" : `branch ${current}`;
  return {
    kind: "left",
    why: `${found} is checked out, not ${branch}`,
    type: `git fetch ${remote} ${branch}`,
  };
}

async function fastForward(
  dir: string,
  remote: string,
  { branch, commit, env }: Where,
): Promise<Forwarded> {
  const pull = `git pull --ff-only ${remote} ${branch}`;
  const fetched = await runProgram("git", ["fetch", "-q", remote, branch], { cwd: dir, env });
  if (fetched?.code !== 0) return { kind: "left", why: firstLine(fetched), type: pull };
  // What a person has set up to be stashed and put back may not fit any more.
  const merge = ["-c", "merge.autoStash=false", "merge", "-q", "--ff-only", commit];
  const merged = await runProgram("git", merge, { cwd: dir });
  if (merged?.code === 0) return { kind: "forwarded" };
  const ahead = Number(await gitSays(["rev-list", "--count", `${commit}..HEAD`], { cwd: dir }));
  const rebase = `git pull --rebase ${remote} ${branch}`;
  if (ahead > 0)
    return { kind: "left", why: `it has commits that are not pushed: ${ahead}`, type: rebase };
  const type = `${pull}, after you have committed or stashed your changes`;
  return { kind: "left", why: firstLine(merged), type };
}

/** What a person is told of it. */
export function forwardedText(clone: Forwarded): string {
  if (clone.kind === "forwarded") return "► this clone has the commit now\n";
  return clean(`► this clone was left as it is: ${clone.why}; type: ${clone.type}\n`);
}

const firstLine = (ran: Ran | undefined) =>
  clean(ran?.stderr ?? "there is no git")
    .trim()
    .replaceAll(/\s+/g, " ")
    .slice(0, 300);

/** The remote of a clone at `dir` that is this repository, however its URL is written. */
async function remoteOf(dir: string, location: GitLocation): Promise<string | undefined> {
  const names = (await gitSays(["remote"], { cwd: dir }))?.split("\n") ?? [];
  for (const name of names.filter((text) => /^[A-Za-z0-9][\w./-]*$/.test(text))) {
    const url = await gitSays(["remote", "get-url", name], { cwd: dir });
    if (url !== undefined && isSame(url, location)) return name;
  }
  return undefined;
}

/** Whether a URL of git's is this repository; the same one by HTTPS and by SSH is the same one. */
export function isSame(url: string, location: GitLocation): boolean {
  const [, user = "git@", host, path] = /^([\w.-]+@)?([\w.-]+):(?!\/)(.+)$/.exec(url) ?? [];
  const isShort = host !== undefined && path !== undefined && !url.includes("://");
  const withoutLogin = url.replace(/^(https?:\/\/)[^@/]*@/, "$1");
  const other = locationOf(isShort ? `ssh://${user}${host}/${path}` : withoutLogin);
  return other !== undefined && isSameRepository(other, location);
}

function locationOf(url: string): GitLocation | undefined {
  try {
    return parseGitUrl(url, true);
  } catch (error) {
    if (isCapitanError(error)) return undefined;
    throw error;
  }
}
