import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { KeyRotation, KeyRotationStatus } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import { parseGitSecret, parseGitUrl } from "../gitdata/index.ts";
import { untilEvent, type Again } from "../pace/index.ts";
import {
  contentsOf,
  exposedTo,
  filesOnEndedKeys,
  guardOf,
  managerName,
  messageOf,
  planOf,
  step,
  type Commit,
  type HubWrite,
  type Proof,
  type Reader,
  type RotationFacts,
} from "../rotation/index.ts";
import { rotationStatus, targetsOf, type RotationOutcome } from "../status/index.ts";
import { existingSecret, nameOfSecret } from "./secrets.ts";
import type { AgeGeneration, Identities } from "./identities.ts";
import { managerKeys } from "./manager-keys.ts";
import type {
  Clock,
  GitProposal,
  GitTip,
  GitWriter,
  GitWriters,
  Holder,
  Log,
  Named,
} from "./ports.ts";
import { problemOf } from "./members.ts";
import { report, timestamp, type Reporter } from "./report.ts";
import { identitiesAmong, refuseUnsafe, RotationFiles, type Keyring } from "./rotation-files.ts";
import { PulledFiles } from "./pulled.ts";
import { RotationManager } from "./rotation-manager.ts";
import {
  generationOf,
  newShared,
  RotationReaders,
  usable,
  type ReadersOptions,
} from "./rotation-readers.ts";

export type RotationHub = Reporter<KeyRotation, KeyRotationStatus> & {
  keyRotation(name: Named): KeyRotation | undefined;
};

export type RotationOptions = ReadersOptions & {
  /** Throws when Clusters are not known: then none is gone, and nobody is complete. */
  readonly checkHub: (signal: AbortSignal) => Promise<void>;
  readonly rotations: RotationHub;
  readonly identities: Identities;
  readonly gitWriters: GitWriters;
  readonly clock: Clock;
  readonly log: Log;
};

const retry: Again = { kind: "backoff", baseMs: 2_000, maxMs: 60_000, flatTries: 3 };
/** The least and the most that nothing is looked at while others have to do something; events come earlier. */
const waitLeastMs = 1_000;
const waitMostMs = 30_000;
/** A rotation of many clusters looks longer, and then less often: so many times as long as that took. */
const restFactor = 10;
const author = { name: "Capitan", email: "capitan@capitan.dev" };
const chance = { random: randomBytes };

/** All that one look at the world told. */
type Seen = {
  readonly facts: RotationFacts;
  readonly keyring: Keyring;
  readonly writer: GitWriter;
  readonly tip: GitTip;
};

/** Carries out KeyRotations: one look at everything, one write, again. Nothing is remembered between, but what cannot change. */
export class RotationReconciler {
  readonly #options: RotationOptions;
  /** The last tip that each rotation has read, which is not fetched again while the branch stays there. */
  readonly #tips = new Map<string, GitTip>();
  readonly #files = new RotationFiles();
  readonly #readers: RotationReaders;
  readonly #manager: RotationManager;

  constructor(options: RotationOptions) {
    this.#options = options;
    const pulled = new PulledFiles(options);
    this.#readers = new RotationReaders(options, this.#files, pulled);
    this.#manager = new RotationManager(options, this.#files, pulled);
  }

  /** One look at the KeyRotation of this key (`namespace/name`), and what it leads to. */
  async reconcile(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const rotation = this.#options.rotations.keyRotation({ namespace, name });
    if (rotation === undefined || rotation.status?.completedTime !== undefined) {
      this.#end(key);
      return untilEvent;
    }
    try {
      const again = await this.#pass(rotation, signal);
      if (again === untilEvent) this.#end(key);
      return again;
    } catch (error) {
      if (signal.aborted) throw error;
      const problem = problemOf(error);
      this.#options.log.warn({ rotation: key, code: problem.code }, problem.message);
      await this.#report(rotation, { problem }, signal);
      return retry;
    }
  }

  /** Thousands of files are remembered for rotations only. */
  #end(key: string): void {
    if (this.#tips.delete(key) && this.#tips.size === 0) this.#files.forget();
  }

  async #pass(rotation: KeyRotation, signal: AbortSignal): Promise<Again> {
    this.#checkNamespace(rotation);
    await this.#options.checkHub(signal);
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const seen = await this.#look(rotation, signal);
    if (rotation.spec.dryRun) {
      await this.#report(rotation, { plan: planOf(seen.facts), done: true }, signal);
      return untilEvent;
    }
    const { next, standings } = step(seen.facts);
    const exposed = exposedIn(rotation, seen.facts);
    // Proofs and what was exposed are in the status before the write that depends on them.
    const filesLeft = filesOnEndedKeys(seen.facts);
    const done = next.kind === "done";
    await this.#report(rotation, { standings, ...exposed, filesLeft, done }, signal);
    if (next.kind === "done") return untilEvent;
    if (next.kind !== "write") return restAfter(clock.monotonicMs() - startedMs);
    const guard = guardOf(seen.facts);
    for (const write of next.writes)
      if (write.kind === "commit") await this.#commit(rotation, write, seen, signal);
      else {
        refuseUnsafe(guard(write));
        await this.#writeToHub(rotation, write, seen.facts, signal);
      }
    return { kind: "after", ms: 1 };
  }

  #checkNamespace({ metadata }: KeyRotation): void {
    const { namespace = "" } = metadata;
    if (this.#options.tenancy.platformNamespaces.has(namespace)) return;
    const message = `KeyRotations in namespace ${namespace} are refused: it is not one of the platform namespaces`;
    throw new CapitanError("NamespaceNotAllowed", message);
  }

  async #look(rotation: KeyRotation, signal: AbortSignal): Promise<Seen> {
    const { namespace = "" } = rotation.metadata;
    const { repository, clusters, rollout } = rotation.spec;
    const { secrets, clock } = this.#options;
    const writer = await this.#open(rotation, signal);
    const key = `${namespace}/${rotation.metadata.name}`;
    const tip = await writer.tip(repository.branch, signal, this.#tips.get(key));
    if (tip === undefined)
      throw new CapitanError("GitNotFound", `${repository.url} has no branch ${repository.branch}`);
    this.#tips.set(key, tip);
    const { name: secret } = managerOf(rotation);
    const manager = await managerKeys(secrets, { namespace, as: undefined }, secret, signal);
    const generations = await this.#options.identities.all(namespace, signal);
    const keyring = keyringOf(manager.generations, generations);
    // Before the revisions, which mostly hold the same files.
    const tree = await this.#files.tree(tip.files, keyring);
    const shared = newShared();
    const targets = targetsOf(rotation.spec);
    const asked = { namespace, secret, keys: manager, tree, commit: tip.commit, keyring };
    const isTarget = targets.has(managerName);
    const proofs = proofsOf(rotation, managerName);
    const named = await Promise.all(
      clusters.map((target) =>
        this.#readers.reader(
          {
            cluster: { namespace, name: target.name },
            generations: generations.get(target.name) ?? [],
            proofs: proofsOf(rotation, target.name),
            tip: tip.files,
            artifactPath: repository.path ?? "./",
            keyring,
            shared,
          },
          signal,
        ),
      ),
    );
    const facts: RotationFacts = {
      targets,
      rollout,
      readers: [
        await this.#manager.reader({ ...asked, isTarget, proofs }, signal),
        ...named,
        ...bystanders(generations, targets),
      ],
      tree,
      proposals: undefined,
      nowMs: clock.now().getTime(),
    };
    const proposals = await proposalsFor(rotation, facts, writer, signal);
    return { facts: { ...facts, proposals }, keyring, writer, tip };
  }

  async #open({ metadata, spec }: KeyRotation, signal: AbortSignal): Promise<GitWriter> {
    const { namespace = "" } = metadata;
    const { url, insecure, secretRef } = spec.repository;
    const location = parseGitUrl(url, insecure);
    const reader = { namespace, as: undefined };
    const found = await existingSecret(this.#options.secrets, reader, secretRef.name, signal);
    const secret = nameOfSecret(found);
    const credentials = parseGitSecret(found["data"], location, secret);
    return this.#options.gitWriters(location, { ...reader, insecure, credentials, secret });
  }

  async #writeToHub(
    rotation: KeyRotation,
    write: HubWrite,
    facts: RotationFacts,
    signal: AbortSignal,
  ): Promise<void> {
    const { identities, log } = this.#options;
    const { namespace = "" } = rotation.metadata;
    const holder =
      write.reader === managerName ? managerOf(rotation) : { namespace, name: write.reader };
    log.info({ cluster: write.reader, write: write.kind }, "rotation");
    if (write.kind === "create") {
      const reader = facts.readers.find(({ name }) => name === write.reader);
      const before = reader?.generations.at(-1)?.recipient ?? "";
      return identities.create(holder, { generation: write.generation, before }, signal);
    }
    const state = write.kind === "end" ? "ending" : "retired";
    for (const generation of write.generations)
      await identities.mark(holder, generation, state, signal);
  }

  /** Commits, on whatever tip is there by then: what is to be done is decided again on each. */
  async #commit(
    { metadata, spec }: KeyRotation,
    planned: Commit,
    seen: Seen,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, clock } = this.#options;
    const { branch } = spec.repository;
    const from = planned.branch === undefined ? {} : { from: branch };
    const propose = async (tip: GitTip | undefined): Promise<GitProposal | undefined> => {
      if (tip === undefined) return undefined;
      const tree = await this.#files.tree(tip.files, seen.keyring);
      const facts = { ...seen.facts, tree };
      const { next } = step(facts);
      const [write] = next.kind === "write" ? next.writes : [];
      if (write?.kind !== "commit" || write.branch !== planned.branch) return undefined;
      refuseUnsafe(guardOf(facts)(write));
      const named = new Map(tree.files.map(({ path, groups }) => [path, groups.flat()]));
      const sources = {
        files: tip.files,
        openers: seen.keyring.manager,
        othersFor: (path: string) => identitiesAmong(named.get(path) ?? [], seen.keyring),
        pause: () => setImmediate(),
      };
      const edits = await contentsOf(write, sources, { ...chance, now: clock.now });
      for (const edit of edits) this.#files.learn(edit, seen.keyring);
      return { edits, message: messageOf(write, metadata.name) };
    };
    const request = {
      branch: planned.branch ?? branch,
      ...from,
      propose,
      author,
      now: clock.now(),
    };
    const published = await seen.writer.publish(request, signal);
    if (published === undefined) return;
    const { commit } = published;
    log.info({ rotation: metadata.name, commit }, "rotation: committed");
    const current = this.#options.rotations.keyRotation({
      namespace: metadata.namespace ?? "",
      name: metadata.name,
    });
    const status = current?.status;
    if (current === undefined || status === undefined) return;
    await this.#options.rotations.writeStatus(current, { ...status, lastCommit: commit }, signal);
  }

  async #report(
    rotation: KeyRotation,
    outcome: RotationOutcome,
    signal: AbortSignal,
  ): Promise<void> {
    const { rotations, clock, log } = this.#options;
    const status = rotationStatus(rotation, outcome, timestamp(clock));
    await report(rotations, rotation, status, { clock, log, signal });
  }
}

function restAfter(lookMs: number): Again {
  const ms = Math.min(waitMostMs, Math.max(waitLeastMs, restFactor * lookMs));
  return { kind: "after", ms };
}

/** Whose first identity is in the Secret that opens every file. */
const managerOf = ({ metadata: { namespace = "" }, spec }: KeyRotation): Holder => ({
  namespace,
  name: spec.decryption.secretRef.name,
  isManager: true,
});

/** Retired ones too: it has to be known what they still open. */
function keyringOf(
  manager: readonly AgeGeneration[],
  generations: ReadonlyMap<string, readonly AgeGeneration[]>,
): Keyring {
  const byRecipient = new Map(
    [...generations.values()].flatMap((own) => {
      const identities = own.map(({ identity }) => identity);
      return identities.map(({ recipient }) => [recipient, identities] as const);
    }),
  );
  return {
    manager: manager.map(({ identity }) => identity),
    ofReaderWith: (recipient) => byRecipient.get(recipient) ?? [],
  };
}

/** Clusters that files may name and that nobody rotates now. */
function bystanders(
  generations: ReadonlyMap<string, readonly AgeGeneration[]>,
  targets: ReadonlyMap<string, number>,
): readonly Reader[] {
  const others = [...generations].filter(([name]) => !targets.has(name));
  return others.map(([name, own]) => ({
    name,
    uid: "",
    presence: "reachable",
    generations: own.map(generationOf),
    planted: usable(own),
    revisions: [],
    proofs: [],
    canary: undefined,
  }));
}

function proofsOf({ status }: KeyRotation, cluster: string): readonly Proof[] {
  const proof = status?.clusters?.find(({ name }) => name === cluster)?.proof;
  if (proof === undefined) return [];
  const { time, ...rest } = proof;
  return [{ ...rest, atMs: Date.parse(time) }];
}

/** Which of the branches that would be proposed now is there already. */
async function proposalsFor(
  { spec }: KeyRotation,
  facts: RotationFacts,
  writer: GitWriter,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  if (spec.repository.delivery === "Push") return undefined;
  const { next } = step({ ...facts, proposals: new Set() });
  const [write] = next.kind === "write" ? next.writes : [];
  const branch = write?.kind === "commit" ? write.branch : undefined;
  const isThere = branch !== undefined && (await writer.tip(branch, signal)) !== undefined;
  return new Set(isThere ? [branch] : []);
}

/** After a leak: what the old keys could read. Written down once, before it changes. */
function exposedIn({ spec, status }: KeyRotation, facts: RotationFacts): RotationOutcome {
  if (spec.reason !== "Compromise" || status?.exposed !== undefined) return {};
  const targets = facts.readers.filter(({ name }) => facts.targets.has(name));
  return { exposed: exposedTo(facts, ...targets) };
}
