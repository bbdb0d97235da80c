import { withEntries, withoutKeys, type Entry, type Inventory } from "../inventory/index.ts";
import { versionOf, type Health } from "../object/index.ts";
import type { DesiredObject } from "./render.ts";
import type { Facts, Live, Problem } from "./step.ts";

/** What became of one applied object. */
export type ApplyReply =
  | { readonly live: Live; readonly created: boolean }
  | { readonly problem: Problem };

/** What became of one object that was to be removed or released. `held`: still there, or changed meanwhile. */
export type RemovalReply = "gone" | "held" | { readonly problem: Problem };

/** The inventory was written: what we wanted to be there is there. */
export function learnStored(facts: Facts, inventory: Inventory): Facts {
  return { ...facts, stored: inventory, inventory };
}

/** Objects were applied: their entries now carry what the replies said. */
export function learnApplied(
  facts: Facts,
  objects: readonly DesiredObject[],
  replies: ReadonlyMap<string, ApplyReply>,
): Facts {
  const live = new Map(facts.live);
  const problems = new Map(facts.problems);
  const entries: Entry[] = [];
  for (const object of objects) {
    const reply = replies.get(object.key);
    const entry = facts.inventory.get(object.key);
    if (reply === undefined || entry === undefined) continue;
    if ("problem" in reply) problems.set(object.key, reply.problem);
    else {
      const refused = ownershipProblem(object, reply.live, facts.owner);
      if (refused !== undefined) problems.set(object.key, refused);
      live.set(object.key, reply.live);
      entries.push(appliedEntry(entry, object, reply));
    }
  }
  return { ...facts, live, problems, inventory: withEntries(facts.inventory, entries) };
}

function appliedEntry(
  entry: Entry,
  { object, layer, digest }: DesiredObject,
  { live, created }: { live: Live; created: boolean },
): Entry {
  const version = versionOf(object.apiVersion);
  return {
    ...entry,
    version,
    layer,
    want: digest,
    own: live.own,
    uid: live.uid,
    created: createdFlag(entry, live, created),
  };
}

/** 201 is certain. A 200 after a lost reply or a crash is judged by the object itself; what was known stays known. */
function createdFlag(entry: Entry, live: Live, created: boolean): boolean {
  if (created) return true;
  if (entry.created !== undefined && entry.uid === live.uid) return entry.created;
  return live.createdByUs;
}

/** A server that strips our label, or keeps no ownership, would make us apply for ever. */
function ownershipProblem({ id }: DesiredObject, live: Live, owner: string): Problem | undefined {
  const name = `${id.kind}/${id.name}`;
  if (live.deleting) return undefined;
  if (live.owner !== owner)
    return {
      code: "ApplyFailed",
      message: `${name}: the API server, or an admission policy, took the owner label off`,
    };
  return live.own === ""
    ? { code: "ApplyFailed", message: `${name}: the API server keeps no field ownership` }
    : undefined;
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
  const gone = [...replies].filter(([, reply]) => reply === "gone").map(([key]) => key);
  const held = new Set(facts.held);
  const problems = new Map(facts.problems);
  for (const [key, reply] of replies) {
    if (reply === "held") held.add(key);
    else if (reply !== "gone") problems.set(key, reply.problem);
  }
  const live = new Map([...facts.live].filter(([key]) => !gone.includes(key)));
  return { ...facts, held, problems, live, inventory: withoutKeys(facts.inventory, gone) };
}
