import { compareFootprints, isOlder } from "./footprint.ts";
import type { Health } from "../object/index.ts";
import type { Live } from "./live.ts";

/** What a watch or a list told of an object. Most is over already: `read`, which costs more than the rest, is not called then. */
export type Told = {
  readonly uid: string;
  readonly version: string;
  readonly read: () => Live;
};

/** An event about one object: what it is now, or that it has gone. */
type Seen = { readonly told: Told; readonly gone: boolean };

/**
 * The owned objects of one cluster as watches and replies tell them. While an apply of an object is
 * in flight its events are held: our own event often comes before our own reply.
 */
export class Mirror {
  readonly #objects = new Map<string, Live>();
  readonly #held = new Map<string, Seen[]>();
  /** Our fields as they were before somebody took some of them. */
  readonly #before = new Map<string, string>();

  /** The object, as of the newest of what was seen and what was replied. */
  get(key: string): Live | undefined {
    return this.#objects.get(key);
  }

  /** All objects by key. */
  all(): ReadonlyMap<string, Live> {
    return this.#objects;
  }

  /** Our `fieldsV1` as JSON, as of our last apply; undefined when it is not known. */
  fieldsBefore(key: string): string | undefined {
    return this.#before.get(key) ?? this.#objects.get(key)?.fields;
  }

  /** It was seen that the object can be used. */
  establish(key: string): void {
    const held = this.#objects.get(key);
    if (held !== undefined) this.#objects.set(key, { ...held, established: true });
  }

  /** The object was seen healthy at this version; that holds until it is written again, its status included. */
  noteHealth(key: string, version: string, health: Health): void {
    const held = this.#objects.get(key);
    if (held?.version === version) this.#objects.set(key, { ...held, health });
  }

  /** An apply of the object begins. */
  begin(key: string): void {
    if (!this.#held.has(key)) this.#held.set(key, []);
  }

  /** The apply has ended, with a reply or without. True when events that were held are news. */
  end(key: string, reply: Live | undefined): boolean {
    const held = this.#held.get(key) ?? [];
    this.#held.delete(key);
    if (reply !== undefined) {
      this.#objects.set(key, reply);
      this.#before.delete(key);
    }
    return held.map((seen) => this.#take(key, seen, false)).some(Boolean);
  }

  /** Something other than an apply removed the object, or our label from it. */
  forget(key: string): void {
    this.#before.delete(key);
    this.#objects.delete(key);
  }

  /**
   * The watch tells of an object, or, with `listed`, a new list does: then older versions count too,
   * since a restored cluster goes back. True when it is news: not a write of ours, nor one of status.
   */
  see(key: string, told: Told, { gone, listed }: { gone: boolean; listed: boolean }): boolean {
    const held = this.#held.get(key);
    if (held === undefined) return this.#take(key, { told, gone }, listed);
    held.push({ told, gone });
    return false;
  }

  #take(key: string, { told, gone }: Seen, listed: boolean): boolean {
    const before = this.#objects.get(key);
    // The end of an earlier object of this name says nothing: ours has been created again since.
    if (gone) return before?.uid === told.uid && this.#objects.delete(key);
    if (before === undefined) {
      this.#objects.set(key, told.read());
      return true;
    }
    const isSame = before.uid === told.uid;
    if (isSame && !listed && !isNewer(told.version, before.version)) return false;
    const live = told.read();
    this.#keepFields(key, before, live);
    this.#objects.set(key, isSame ? withKnown(before, live) : live);
    return isNews(before, live);
  }

  #keepFields(key: string, before: Live, now: Live): void {
    if (before.fields === undefined || before.own === now.own || this.#before.has(key)) return;
    this.#before.set(key, before.fields);
  }
}

/** What was learned of the same object: its health only as long as nobody has written to it. */
function withKnown(before: Live, live: Live): Live {
  const { established, health } = before;
  return {
    ...live,
    established: live.established ?? established,
    health: live.version === before.version ? health : undefined,
  };
}

const isNewer = (a: string, b: string) => a !== b && !isOlder(a, b);

function isNews(before: Live, after: Live): boolean {
  if (before.deleting !== after.deleting || before.owner !== after.owner) return true;
  const difference = compareFootprints(before, after);
  return difference === "verify" || difference === "repair";
}
