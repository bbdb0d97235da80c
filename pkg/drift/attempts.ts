/** Why an object rests: until when it is left alone, and whether somebody takes its fields again and again. */
export type Pause = { readonly untilMs: number; readonly isFight: boolean; readonly times: number };

type Record = { repairs: number; checks: number; lastMs: number };

/** An object that was quiet for this long starts anew. */
const quietMs = 60_000;
/** So many repairs in a row are drift; more are a fight. */
const repairsMax = 5;
const fightBaseMs = 2_000;
const fightMaxMs = 5 * 60_000;
const checkBaseMs = 250;
const checkMaxMs = 60_000;
/** A fight is over when the object was quiet for the longest pause and some more. */
const fightQuietMs = 2 * fightMaxMs;

/**
 * How often each object was repaired or verified in a row, and how long it then rests, so that
 * nothing loops: repairs beyond a handful are a fight with another writer.
 */
export class Attempts {
  readonly #records = new Map<string, Record>();

  /** The object was applied: `repaired` when that changed something, else it was only verified. */
  note(key: string, repaired: boolean, nowMs: number): void {
    const held = this.#fresh(key, nowMs) ?? { repairs: 0, checks: 0, lastMs: nowMs };
    held.repairs += repaired ? 1 : 0;
    held.checks = repaired ? 0 : held.checks + 1;
    held.lastMs = nowMs;
    this.#records.set(key, held);
  }

  /** Whether the object rests now, and until when. */
  pause(key: string, nowMs: number): Pause | undefined {
    const held = this.#fresh(key, nowMs);
    if (held === undefined) return undefined;
    const isFight = held.repairs > repairsMax;
    const ms = isFight
      ? Math.min(fightBaseMs * 2 ** Math.min(held.repairs - repairsMax - 1, 20), fightMaxMs)
      : held.checks > 1
        ? Math.min(checkBaseMs * 2 ** Math.min(held.checks - 2, 20), checkMaxMs)
        : 0;
    const untilMs = held.lastMs + ms;
    return isFight || untilMs > nowMs ? { untilMs, isFight, times: held.repairs } : undefined;
  }

  /** Whether this repair is one of a row in which it is worth knowing who took what. */
  isContested(key: string, nowMs: number): boolean {
    return (this.#fresh(key, nowMs)?.repairs ?? 0) >= repairsMax;
  }

  /** All objects that rest at this time. */
  pauses(nowMs: number): ReadonlyMap<string, Pause> {
    const found = new Map<string, Pause>();
    for (const key of this.#records.keys()) {
      const pause = this.pause(key, nowMs);
      if (pause !== undefined) found.set(key, pause);
    }
    return found;
  }

  #fresh(key: string, nowMs: number): Record | undefined {
    const held = this.#records.get(key);
    if (held === undefined) return undefined;
    const keepMs = held.repairs > repairsMax ? fightQuietMs : quietMs;
    if (nowMs - held.lastMs <= keepMs) return held;
    this.#records.delete(key);
    return undefined;
  }
}
