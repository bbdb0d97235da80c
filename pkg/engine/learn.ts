import type { Live, Thief } from "../drift/index.ts";
import {
  withEntries,
  withoutKeys,
  type Entry,
  type Inventory,
  type Kept,
} from "../inventory/index.ts";
import { versionOf, type Health } from "../object/index.ts";
import type { DesiredObject } from "./render.ts";
import type { Facts, Inspection, Problem } from "./step.ts";

/** What became of one applied object. */
export type ApplyReply =
  | {
      readonly live: Live;
      readonly created: boolean;
      /** Who had taken what, when that was asked. */
      readonly thief?: Thief | undefined;
      /** A field that we gave up and that another applier keeps in the object. */
      readonly kept?: Kept | undefined;
    }
  | { readonly problem: Problem };

/** What became of one object that was to be removed or released. `held`: still there, and why. */
export type RemovalReply = "gone" | { readonly held: string } | { readonly problem: Problem };

/** It was seen what is there where this Fleet has never applied. */
export function learnInspected(facts: Facts, found: ReadonlyMap<string, Inspection>): Facts {
  return { ...facts, inspected: new Map([...facts.inspected, ...found]) };
}

/** The inventory was written: what we wanted to be there is there. */
export function learnStored(facts: Facts, inventory: Inventory, sequence: number): Facts {
  const known = { ...facts, stored: inventory, inventory, sequence };
  return sequence > facts.sequence ? { ...known, fence: "raised", isAnnounced: true } : known;
}

/** Objects were applied: their entries now carry what the replies said. */
export function learnApplied(
  facts: Facts,
  objects: readonly DesiredObject[],
  replies: ReadonlyMap<string, ApplyReply>,
): Facts {
  const live = new Map(facts.live);
  const problems = new Map(facts.problems);
  const thieves = new Map(facts.thieves);
  const unverified = new Set(facts.unverified);
  const entries: Entry[] = [];
  for (const object of objects) {
    const reply = replies.get(object.key);
    const entry = facts.inventory.get(object.key);
    if (reply === undefined || entry === undefined) continue;
    unverified.delete(object.key);
    if ("problem" in reply) problems.set(object.key, refusalOf(object, entry, reply.problem));
    else {
      const refused = ownershipProblem(object, reply, facts.owner);
      if (refused !== undefined) problems.set(object.key, refused);
      if (reply.thief !== undefined) thieves.set(object.key, reply.thief);
      live.set(object.key, reply.live);
      const found = facts.inspected.get(object.key);
      const wasThere = found?.exists === true && !found.ours;
      const before = facts.live.get(object.key);
      entries.push(appliedEntry(entry, object, { ...reply, wasThere, before }));
    }
  }
  const inventory = withEntries(facts.inventory, entries);
  return { ...facts, live, problems, thieves, unverified, inventory, fence: "none" };
}

/** What was applied before and is refused now is drift that cannot be repaired. */
function refusalOf({ digest }: DesiredObject, { want }: Entry, problem: Problem): Problem {
  const isRepair = want === digest && problem.code === "ApplyFailed";
  return isRepair ? { ...problem, code: "RepairRefused" } : problem;
}

type Applied = {
  readonly live: Live;
  readonly created: boolean;
  readonly kept?: Kept | undefined;
  /** Somebody else's object was seen there before the first apply. */
  readonly wasThere: boolean;
  /** The object as it was seen before. */
  readonly before: Live | undefined;
};

function appliedEntry(
  entry: Entry,
  { object, layer, digest }: DesiredObject,
  { live, created, kept, wasThere, before }: Applied,
): Entry {
  const { own, uid, version, generation, main, meta } = live;
  const { kept: _kept, ...rest } = entry;
  return {
    ...rest,
    ...(kept === undefined ? {} : { kept }),
    version: versionOf(object.apiVersion),
    layer,
    want: digest,
    own,
    uid,
    created: createdFlag(entry, live, { created, wasThere, before }),
    seen: { version, main, meta, ...(generation === undefined ? {} : { generation }) },
  };
}

/**
 * 201 is certain, and so is 200 for what somebody else was seen to have there before. A 200 after a
 * lost reply or a crash is judged by the object itself, as it is and as it was; what was known stays known.
 */
function createdFlag(
  entry: Entry,
  live: Live,
  { created, wasThere, before }: Pick<Applied, "created" | "wasThere" | "before">,
): boolean {
  if (created) return true;
  if (wasThere && entry.created !== true) return false;
  if (entry.created !== undefined && entry.uid === live.uid) return entry.created;
  return live.createdByUs || (before?.uid === live.uid && before.createdByUs);
}

/** A server that strips our label, or keeps no ownership, would make us apply for ever. */
function ownershipProblem(
  { id }: DesiredObject,
  { live }: { live: Live },
  owner: string,
): Problem | undefined {
  const name = `${id.kind}/${id.name}`;
  if (live.deleting) return undefined;
  if (live.owner !== owner)
    return {
      code: "OwnerLabelStripped",
      message: `${name}: the API server, or an admission policy, took the owner label off`,
    };
  if (live.own !== "") return undefined;
  return { code: "ApplyFailed", message: `${name}: the API server keeps no field ownership` };
}

/** It was seen whether CRDs are Established and Namespaces Active. */
export function learnEstablished(facts: Facts, established: ReadonlyMap<string, boolean>): Facts {
  return {
    ...facts,
    live: patchLive(facts, established, (live, is) => ({ ...live, established: is })),
  };
}

/** The health of objects was seen. */
export function learnHealth(facts: Facts, health: ReadonlyMap<string, Health>): Facts {
  return { ...facts, live: patchLive(facts, health, (live, seen) => ({ ...live, health: seen })) };
}

function patchLive<T>(
  { live }: Facts,
  news: ReadonlyMap<string, T>,
  change: (live: Live, news: T) => Live,
): ReadonlyMap<string, Live> {
  const next = new Map(live);
  for (const [key, value] of news) {
    const held = live.get(key);
    if (held !== undefined) next.set(key, change(held, value));
  }
  return next;
}

/** Objects were removed or released: the list shrinks only by those that are seen gone. */
export function learnRemoved(facts: Facts, replies: ReadonlyMap<string, RemovalReply>): Facts {
  const gone = new Set([...replies].filter(([, reply]) => reply === "gone").map(([key]) => key));
  const held = new Map(facts.held);
  const problems = new Map(facts.problems);
  for (const [key, reply] of replies) {
    if (reply === "gone") continue;
    if ("held" in reply) held.set(key, reply.held);
    else problems.set(key, reply.problem);
  }
  const live = new Map([...facts.live].filter(([key]) => !gone.has(key)));
  const inventory = withoutKeys(facts.inventory, gone);
  return { ...facts, held, problems, live, inventory, fence: "none" };
}

/** Flux's controllers are gone and its objects let go, or something is in the way. */
export function learnDisarmed(facts: Facts, problem: Problem | undefined): Facts {
  const problems = new Map(facts.problems);
  if (problem !== undefined) problems.set(disarmKey, problem);
  return { ...facts, problems, disarmed: problem === undefined, fence: "none" };
}

/** Where a problem with disarming Flux is kept among those of objects. */
export const disarmKey = "disarm";
