import { Attempts, type Thief } from "../drift/index.ts";
import { claimsBy, type LayerPlan, type Refusal, type SharedObjects } from "../engine/index.ts";
import type { Ledger } from "../inventory/index.ts";
import type { Clock, WorkloadPort } from "./ports.ts";

/** One member's layers as they are to be in its cluster, with what they were made from. */
export type Placed = {
  readonly made: string;
  readonly layers: readonly LayerPlan[];
};

/** Everything is applied once more after so many hours, whatever the watches say: the net below them. */
const sweepMinMs = 4 * 3_600_000;
const sweepMaxMs = 8 * 3_600_000;

/** What a repair changed of a member's status and is not written yet. */
export type Unreported = { readonly appliedTime: string | undefined; readonly dueMs: number };

/** What is remembered of one connected cluster between passes; gone with the connection. */
export class Session {
  readonly workload: WorkloadPort;
  /** Objects that are the same for all clusters of a Fleet. */
  readonly shared: SharedObjects;
  readonly attempts = new Attempts();
  /** By member: its layers as they are to be. */
  readonly placed = new Map<string, Placed>();
  /** By member: objects that are to be applied whatever their metadata says. */
  readonly unverified = new Map<string, ReadonlySet<string>>();
  /** By member: objects that the API server refused, with what was sent and why; light passes do not try them again. */
  readonly refused = new Map<string, ReadonlyMap<string, Refusal>>();
  /** By member: objects on their way out, with what holds them. */
  readonly held = new Map<string, ReadonlyMap<string, string>>();
  /** By member: repairs that its status does not tell yet. */
  readonly unreported = new Map<string, Unreported>();
  /** Owners whose list was taken out of the inventory from here, since nothing of theirs is left. */
  readonly withdrawn = new Set<string>();
  /** By object: who took a field of it again and again. */
  thieves: ReadonlyMap<string, Thief> = new Map();
  /** The inventory as it was last read or written, as long as nobody else can have written it. */
  ledger: Ledger | undefined;
  /** When what repairs have learned is to be written to the inventory; undefined when all is written. */
  storeAtMs: number | undefined;
  #sweepAtMs: number;

  constructor(workload: WorkloadPort, clock: Clock, shared: SharedObjects) {
    this.workload = workload;
    this.shared = shared;
    this.#sweepAtMs = nextSweepMs(clock);
  }

  /** Whether it is time to verify everything; the next time is chosen. */
  isSweepDue(clock: Clock): boolean {
    if (clock.monotonicMs() < this.#sweepAtMs) return false;
    this.#sweepAtMs = nextSweepMs(clock);
    return true;
  }

  /** The slow net below the watches: everything is applied once more. */
  verifyAll(): void {
    for (const [name, { layers }] of this.placed)
      this.unverified.set(name, new Set(claimsBy([{ owner: name, layers }]).keys()));
  }

  /** Drops what belongs to members that are no longer there, and the watches that only they needed. */
  retain(members: ReadonlySet<string>): void {
    for (const memory of [this.placed, this.unverified, this.refused, this.held, this.unreported])
      for (const name of memory.keys()) if (!members.has(name)) memory.delete(name);
  }
}

function nextSweepMs({ monotonicMs, random }: Clock): number {
  return monotonicMs() + sweepMinMs + (sweepMaxMs - sweepMinMs) * random();
}
