import { setTimeout } from "node:timers/promises";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import type { PushReport, RefUpdate } from "../gitdata/index.ts";
import {
  commitOn,
  encodePack,
  filesOf,
  type Commit,
  type Edit,
  type GitObjects,
  type Person,
} from "../gitobjects/index.ts";

/** The last commit of a branch and all of its regular files, by their path. */
export type Tip = { readonly commit: string; readonly files: ReadonlyMap<string, Buffer> };

/** What is to be changed, on top of a tip. */
export type Proposal = { readonly edits: readonly Edit[]; readonly message: string };

export type PublishRequest = {
  readonly branch: string;
  /** Where `branch` begins when it does not exist. */
  readonly from?: string | undefined;
  /** Asked again whenever the tip is another one; undefined when nothing is to be changed any more. */
  readonly propose: (tip: Tip | undefined) => Proposal | undefined | Promise<Proposal | undefined>;
  readonly author: Person;
  readonly sign?: ((payload: Buffer) => Promise<string>) | undefined;
  readonly now: Date;
};

/** The commit that the branch now has; `previous` is the one that it stands on. */
export type Published = {
  readonly commit: string;
  readonly previous: string | undefined;
  readonly attempts: number;
};

/** What there is to stand on: the branch's own tip, or that of the branch that it begins at. */
export type Base = {
  /** Where the branch is; undefined when there is none yet. */
  readonly head: string | undefined;
  readonly parent: { readonly oid: string; readonly objects: GitObjects } | undefined;
};

/** What publishing needs of a repository. */
export type Remote = {
  readonly url: string;
  base(branch: string, from: string | undefined): Promise<Base>;
  /** What came after `have`, up to a commit; without `have` as far as histories are read. */
  history(commit: string, have: string | undefined): Promise<GitObjects>;
  /** `moved` when the branch is elsewhere already, so that nothing was sent. */
  push(update: RefUpdate, pack: Buffer): Promise<PushReport | { readonly kind: "moved" }>;
};

/** A commit of ours whose fate nobody told us. */
type Sent = { readonly oid: string; readonly previous: string | undefined; readonly base: Base };
type Prepared = { readonly on: string | undefined; readonly commit: Commit };
type Outcome =
  | { readonly kind: "taken" | "moved" }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "lost"; readonly error: CapitanError };

const attemptsMax = 12;
/** How often a reply may be lost before the server is called broken. */
const lostMax = 3;
const pauseMaxMs = 1_500;
/** How servers say that somebody else writes at this moment. */
const lockedOut = /lock|fetch first|stale|incorrect old|failed to update ref|already exists/i;

/**
 * One commit on top of a branch, pushed so that nobody else's is lost: the server moves the branch
 * only from where we saw it. When somebody was faster, the caller proposes again on the new tip.
 * Undefined when nothing is to be changed. Throws GitPushRejected, GitConflict after `attemptsMax`
 * attempts, GitIdentityMissing, ArtifactUnsafe and what reading throws.
 */
export async function publish(
  remote: Remote,
  request: PublishRequest,
  signal: AbortSignal,
): Promise<Published | undefined> {
  const sent: Sent[] = [];
  let prepared: Prepared | undefined;
  for (let attempts = 1; ; attempts++) {
    const base = await baseOf(remote, request, sent);
    const arrived = await arrivedOf(remote, sent, base);
    if (arrived !== undefined) return { commit: arrived.oid, previous: arrived.previous, attempts };
    const previous = base.parent?.oid;
    prepared = await prepare(remote, { request, base, before: prepared });
    if (prepared === undefined) return undefined;
    const { oid } = prepared.commit;
    const outcome = await send(remote, { branch: request.branch, base, commit: prepared.commit });
    if (outcome.kind === "taken") return { commit: oid, previous, attempts };
    if (outcome.kind === "lost") keep(sent, { oid, previous, base }, outcome.error);
    await checkRetry(remote, { request, base, outcome, attempts });
    await pause(attempts, signal);
  }
}

/** At random, so that two who have met do not meet again. Whoever aborts is heard by the next request. */
async function pause(attempts: number, signal: AbortSignal): Promise<void> {
  const ms = Math.random() * Math.min(pauseMaxMs, attempts * 200);
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}

/** Throws when the server has swallowed enough. */
function keep(sent: Sent[], commit: Sent, error: CapitanError): void {
  sent.push(commit);
  if (sent.length >= lostMax) throw unknown(error, commit.oid);
}

/** The files of what there is to stand on. */
export function tipOf({ parent }: Base, url: string): Tip | undefined {
  if (parent === undefined) return undefined;
  const where = { commit: parent.oid, path: "", others: "left out" } as const;
  const files = filesOf(parent.objects, where, `${url}@${parent.oid}`);
  return {
    commit: parent.oid,
    files: new Map(Array.from(files, ([path, { content }]) => [path, content])),
  };
}

/** Where the branch is now. When a push was lost and the server says nothing more, both are told. */
async function baseOf(
  remote: Remote,
  { branch, from }: PublishRequest,
  sent: readonly Sent[],
): Promise<Base> {
  const lost = sent.at(-1);
  try {
    return await remote.base(branch, from);
  } catch (error) {
    if (lost === undefined || !isCapitanError(error)) throw error;
    throw unknown(error, lost.oid);
  }
}

/** The commit that was sent without an answer and that the branch holds now, perhaps below others. */
async function arrivedOf(
  remote: Remote,
  sent: readonly Sent[],
  { head }: Base,
): Promise<Sent | undefined> {
  for (const commit of sent) {
    if (head === undefined || head === commit.base.head) continue;
    const since = await remote.history(head, commit.previous);
    if (since.has(commit.oid)) return commit;
  }
  return undefined;
}

/** The same commit again where the tip is the same one: a push that was lost may still come through. */
async function prepare(
  remote: Remote,
  { request, base, before }: { request: PublishRequest; base: Base; before: Prepared | undefined },
): Promise<Prepared | undefined> {
  const on = base.parent?.oid;
  if (before !== undefined && before.on === on) return before;
  const proposal = await request.propose(tipOf(base, remote.url));
  if (proposal === undefined) return undefined;
  const { author, now, sign } = request;
  const commit = await commitOn(
    { ...proposal, parent: base.parent, author, now, sign },
    remote.url,
  );
  return commit === undefined ? undefined : { on, commit };
}

async function send(
  remote: Remote,
  { branch, base, commit }: { branch: string; base: Base; commit: Commit },
): Promise<Outcome> {
  const update = { ref: `refs/heads/${branch}`, from: base.head, to: commit.oid };
  const pack = encodePack(commit.objects, remote.url);
  try {
    return await remote.push(update, pack);
  } catch (error) {
    const isLost =
      isCapitanError(error) &&
      (error.code === "GitUnreachable" || error.code === "ArtifactCorrupt");
    if (!isLost) throw error;
    return { kind: "lost", error };
  }
}

type Tried = {
  readonly request: PublishRequest;
  readonly base: Base;
  readonly outcome: Outcome;
  readonly attempts: number;
};

/** Throws when another attempt cannot help, or there were enough. */
async function checkRetry(remote: Remote, tried: Tried): Promise<void> {
  const { request, base, outcome, attempts } = tried;
  const { branch, from } = request;
  const what = `${remote.url}: branch ${branch}`;
  const why = outcome.kind === "refused" ? outcome.why : "others push to it";
  if (outcome.kind === "refused" && !lockedOut.test(why)) {
    const { head } = await remote.base(branch, from);
    if (head === base.head) throw new CapitanError("GitPushRejected", `${what}: ${why}`);
  }
  if (attempts >= attemptsMax)
    throw new CapitanError("GitConflict", `${what}: given up after ${attempts} attempts: ${why}`);
}

function unknown(error: CapitanError, oid: string): CapitanError {
  const message = `${error.message}; whether commit ${oid} has arrived is not known: nothing is lost by doing it again`;
  return new CapitanError(error.code, message, { cause: error });
}
