import {
  isFor,
  knows,
  namesOf,
  recipientsOfReader,
  wantedGeneration,
  type Generation,
  type Reader,
  type Revision,
  type RotationFacts,
  type RulesFile,
  type TreeFile,
} from "./facts.ts";
import type { Code } from "../errors/index.ts";
import type { Lookup } from "./lookup.ts";

/** What is waited for, as a word for conditions. */
export type WaitReason =
  | "ClusterAway"
  | "ClusterSuspended"
  | "AwaitingIdentity"
  | "AwaitingPublish"
  | "AwaitingApply"
  | "AwaitingProof"
  | "AwaitingWithdrawal";

/** A change of files that a reader is ready for. */
export type Edits = {
  /** The new recipient, where files lack it. */
  readonly add: Generation;
  /** Recipients that are to go. */
  readonly remove: ReadonlySet<string>;
  readonly files: readonly TreeFile[];
  readonly rules: readonly RulesFile[];
  readonly canary: string | undefined;
  /** Since when it is ready. */
  readonly readySinceMs: number;
};

/** Where one reader stands. */
export type Stage =
  | { readonly kind: "done" | "gone" }
  | { readonly kind: "stalled"; readonly code: Code; readonly message: string }
  | {
      readonly kind: "wait";
      readonly reason: WaitReason;
      readonly message: string;
      /** Whether a commit for it comes after this wait. */
      readonly beforeCommit: boolean;
    }
  | { readonly kind: "create"; readonly generation: number }
  | { readonly kind: "edit"; readonly phase: "add" | "remove"; readonly edits: Edits }
  | { readonly kind: "end" | "retire"; readonly generations: readonly number[] };

/** One reader and what is to become of it. */
export type Job = {
  readonly facts: RotationFacts;
  readonly lookup: Lookup;
  readonly reader: Reader;
  readonly ends: number;
  readonly wanted: Generation;
  /** Recipients of the generations that end. */
  readonly old: ReadonlySet<string>;
  /** Files at the tip that are for this reader, without its canary. */
  readonly files: readonly TreeFile[];
};

type Check = (job: Job) => Stage | undefined;

/** A rotation of one reader, top to bottom: the first that is not settled decides. */
const checks: readonly Check[] = [
  soundFiles,
  identityPlanted,
  newInFiles,
  newPublished,
  newProven,
  oldOutOfFiles,
  removalPublished,
  oldEnding,
  oldRetired,
  oldWithdrawn,
];

/** Where a reader stands, from what is observed and nothing else. */
export function stageOf(lookup: Lookup, reader: Reader, ends: number): Stage {
  if (reader.presence === "gone") return { kind: "gone" };
  const wanted = wantedGeneration(reader, ends);
  if (wanted === undefined) return { kind: "create", generation: nextGeneration(reader) };
  const ending = reader.generations.filter(({ generation }) => generation <= ends);
  const old = new Set(ending.map(({ recipient }) => recipient));
  const files = lookup.filesFor(reader).filter(({ path }) => path !== reader.canary);
  const job = { facts: lookup.facts, lookup, reader, ends, wanted, old, files };
  for (const check of checks) {
    const stage = check(job);
    if (stage !== undefined) return stage;
  }
  return { kind: "done" };
}

const nextGeneration = ({ generations }: Reader) =>
  Math.max(0, ...generations.map(({ generation }) => generation)) + 1;

type Wait = Extract<Stage, { readonly kind: "wait" }>;

const lastWait = (reason: WaitReason, message: string): Wait => ({
  kind: "wait",
  reason,
  message,
  beforeCommit: false,
});
const waitThenCommit = (reason: WaitReason, message: string): Wait => ({
  ...lastWait(reason, message),
  beforeCommit: true,
});

/** No file is touched before all files of the reader are sound: half a rotation helps nobody. */
function soundFiles({ lookup, files, wanted, old }: Job): Stage | undefined {
  for (const file of files) {
    const isSettled = file.opens.has(wanted.recipient) && !knows(file, old);
    const trouble = isSettled ? undefined : troubleOf(lookup, file);
    if (trouble !== undefined) return { kind: "stalled", ...trouble };
  }
  return undefined;
}

/** Why a file must not be rewritten. */
export function troubleOf(
  lookup: Lookup,
  file: TreeFile,
): { readonly code: Code; readonly message: string } | undefined {
  const { path, trouble, foreign } = file;
  if (trouble !== undefined) return { ...trouble, message: `${path}: ${trouble.message}` };
  if (foreign.length > 0) {
    const message = `${path}: it has recipients of other kinds (${foreign.join(", ")}), whose services would be needed: rotate this file with sops`;
    return { code: "SopsFileInvalid", message };
  }
  const [unknown] = strangersIn(lookup, file);
  if (unknown === undefined) return undefined;
  const message = `${path}: ${unknown} is named in the file and not by its rule in .sops.yaml: add it there, or take it out with capitan secrets updatekeys`;
  return { code: "RecipientUnknown", message };
}

/** Recipients that a file names although its rule, or without one what we know, does not. */
export function strangersIn(lookup: Lookup, file: TreeFile): readonly string[] {
  const policy = new Set(file.policy);
  const isAllowed = (name: string) =>
    lookup
      .readersWith(name)
      .some(
        (reader) => file.policy === undefined || !recipientsOfReader(reader).isDisjointFrom(policy),
      );
  return [...namesOf(file).difference(policy)].filter((name) => !isAllowed(name));
}

function identityPlanted({ reader, wanted }: Job): Stage | undefined {
  if (reader.planted === undefined || reader.presence === "away")
    return waitThenCommit(
      "ClusterAway",
      `${reader.name} does not answer: the new key cannot be planted`,
    );
  if (reader.planted.has(wanted.recipient)) return undefined;
  return waitThenCommit(
    "AwaitingIdentity",
    `${reader.name} has not got generation ${wanted.generation} yet`,
  );
}

function newInFiles(job: Job): Stage | undefined {
  // Without a wait between, one commit does both.
  if (job.facts.rollout === "Immediate") return undefined;
  const { wanted, files } = job;
  const lacking = files.filter((file) => !file.opens.has(wanted.recipient));
  return edit(job, "add", { files: lacking, rules: rulesWithout(job), since: wanted.createdMs });
}

/** The files of rules that name the reader, but not its new recipient. */
const rulesWithout = ({ facts, reader, wanted }: Job): readonly RulesFile[] =>
  facts.tree.rules.filter(
    ({ names }) =>
      !names.has(wanted.recipient) && !names.isDisjointFrom(recipientsOfReader(reader)),
  );

/** Undefined when there is nothing to change. */
function edit(
  { lookup, reader, wanted, old }: Job,
  phase: "add" | "remove",
  { files, rules, since }: Pick<Edits, "files" | "rules"> & { readonly since: number },
): Stage | undefined {
  const found = reader.canary === undefined ? undefined : lookup.file(reader.canary);
  const isRight = found?.opens.has(wanted.recipient) === true && namesOf(found).size === 1;
  const canary = isRight ? undefined : reader.canary;
  if (files.length + rules.length === 0 && canary === undefined) return undefined;
  const remove = phase === "remove" ? old : new Set<string>();
  const edits = { add: wanted, remove, files, rules, canary, readySinceMs: since };
  return { kind: "edit", phase, edits };
}

/** What a reader runs and is pinned to must open with the new key before the old one goes. */
function newPublished({ facts, reader, wanted }: Job): Stage | undefined {
  if (facts.rollout === "Immediate") return undefined;
  const waits = published(reader, (file) => file.opens.has(wanted.recipient), "the new key");
  return waits && { ...waits, beforeCommit: true };
}

function published(
  reader: Reader,
  isRight: (file: Revision["files"][number]) => boolean,
  what: string,
): Wait | undefined {
  const isStale = ({ files }: Revision) =>
    files.some((file) => isFor(file, reader) && !isRight(file));
  const [pinned, running] = (["pinned", "running"] as const).map((use) =>
    reader.revisions.find((revision) => revision.use === use && isStale(revision)),
  );
  const stale = pinned ?? running;
  if (stale === undefined) return undefined;
  if (reader.presence === "suspended")
    return lastWait(
      "ClusterSuspended",
      `${reader.name} is suspended at ${stale.name}, which is from before ${what}: resume it`,
    );
  if (pinned !== undefined)
    return lastWait(
      "AwaitingPublish",
      `move ${pinned.source}: ${reader.name} is at ${pinned.name}, which is from before ${what}`,
    );
  return lastWait(
    "AwaitingApply",
    `${reader.name} still runs ${stale.name}, which is from before ${what}`,
  );
}

function newProven({ facts, reader, wanted }: Job): Stage | undefined {
  if (facts.rollout === "Immediate" || proofOf(reader, wanted) !== undefined) return undefined;
  return waitThenCommit(
    "AwaitingProof",
    `${reader.name} has not shown yet that generation ${wanted.generation} opens anything`,
  );
}

/** The proof of a generation on this very cluster. */
export const proofOf = ({ proofs, uid }: Reader, { generation }: Generation) =>
  proofs.find((proof) => proof.generation === generation && proof.uid === uid);

/** The old key itself, and data keys that it is known to open: they read later edits too. */
function oldOutOfFiles(job: Job): Stage | undefined {
  const { facts, lookup, reader, wanted, old, files } = job;
  const open = lookup.dataKeysOpenTo(old);
  const left = files.filter(
    (file) => knows(file, old) || open.has(file.dataKey) || !file.opens.has(wanted.recipient),
  );
  const named = facts.tree.rules.filter(({ names }) => !names.isDisjointFrom(old));
  const rules = [...new Set([...named, ...rulesWithout(job)])];
  const since = proofOf(reader, wanted)?.atMs ?? wanted.createdMs;
  return edit(job, "remove", { files: left, rules, since });
}

function removalPublished({ reader, wanted, old }: Job): Stage | undefined {
  return published(
    reader,
    (file) => file.opens.has(wanted.recipient) && !knows(file, old),
    "the removal of the old key",
  );
}

function oldEnding({ reader, ends }: Job): Stage | undefined {
  return inState(reader, ends, "active", "end");
}

function oldRetired({ reader, ends }: Job): Stage | undefined {
  return inState(reader, ends, "ending", "retire");
}

function inState(
  { generations }: Reader,
  ends: number,
  wanted: Generation["state"],
  kind: "end" | "retire",
): Stage | undefined {
  const found = generations.flatMap(({ generation, state }) =>
    generation <= ends && state === wanted ? [generation] : [],
  );
  return found.length === 0 ? undefined : { kind, generations: found };
}

function oldWithdrawn({ reader, old }: Job): Stage | undefined {
  if (reader.planted === undefined || reader.planted.isDisjointFrom(old)) return undefined;
  return lastWait("AwaitingWithdrawal", `${reader.name} still has the old key`);
}
