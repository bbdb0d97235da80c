import type { FleetRevision } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import {
  learnApplied,
  learnDisarmed,
  learnEstablished,
  learnHealth,
  learnInspected,
  learnRemoved,
  learnStored,
  noteAttempts,
  questionsAbout,
  refusalsIn,
  startFacts,
  step,
  type Facts,
  type LayerInputs,
  type LayerVerdict,
  type Problem,
  type Refusal,
  type Step,
} from "../engine/index.ts";
import {
  ledgerOf,
  ownedBy,
  type Inventory,
  type Ledger,
  type Pin,
  type Entry,
} from "../inventory/index.ts";
import { kindsToObserve } from "./placing.ts";
import type { Actor, Clock } from "./ports.ts";
import type { Session } from "./session.ts";

/** A pass of more steps than this is a bug, not work. */
const stepsMax = 1_000;

/** What repairs have learned is written down within this time: a cluster that drifts is not to wait for it each time. */
export const lateMaxMs = 1_000;

/** What one member wants of its cluster. */
export type MemberPlan = {
  readonly member: string;
  readonly owner: string;
  /** The user as whom everything is done for the Fleet in its cluster. */
  readonly as: Actor;
  /** `namespace/name` of the Fleet and of the Cluster. */
  readonly fleet: string;
  readonly cluster: string;
  /** On the hub itself: the key of the Fleet's own object there. */
  readonly self: string | undefined;
  /** Whether everything is to leave the cluster, also what the Fleet would leave behind. */
  readonly withdraws: boolean;
  /** Undefined withdraws everything. */
  readonly revision: FleetRevision | undefined;
  readonly inputs: ReadonlyMap<string, LayerInputs | Problem>;
  readonly approval: string | undefined;
  readonly appliedSinceMs: ReadonlyMap<string, number>;
  /** What the Fleet says now about leaving objects behind; overrides what the inventory remembers, never towards deletion. */
  readonly leavesBehind: (layer: string) => boolean;
  /** How many objects the member's status remembers. */
  readonly knownObjects: number;
  /** The last sequence number that the hub remembers. */
  readonly remembered: number | undefined;
  /** Why nothing may be removed yet. */
  readonly removalWaits: string | undefined;
};

export type PassResult = {
  readonly layers: readonly LayerVerdict[];
  readonly removal: Problem | undefined;
  readonly inventory: Inventory;
  /** Objects applied in this pass, of these put back, and when the last one was applied. */
  readonly applied: number;
  readonly repaired: number;
  readonly appliedTime: string | undefined;
  /** Objects were handed to another member, which should look now. */
  readonly handedOver: boolean;
  /** When an object that rests is to be looked at again. */
  readonly wakeMs: number | undefined;
};

export type PassOptions = {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Nothing on the hub has changed: only what the watches tell is looked at, from memory. */
  readonly light: boolean;
  /** Objects that other members on the cluster want, with their owners. */
  readonly claims: ReadonlyMap<string, string>;
  /** Remembers on the hub that this sequence number is about to be used. */
  readonly remember: (sequence: number) => Promise<void>;
  /** Whether any deletion needs approval, and the same asked, and counted, before objects are deleted. */
  readonly prunesMany: boolean;
  readonly mayPrune: () => boolean;
};

/**
 * One pass over one member on its cluster: know what is there, then step by step do what the
 * decisions say until there is nothing more to do now. Throws when the cluster cannot be reached,
 * or when somebody else has written to it.
 */
export async function runPass(
  session: Session,
  plan: MemberPlan,
  options: PassOptions,
): Promise<PassResult> {
  let facts = await readFacts(session, plan, options);
  const counts: Counts = { applied: 0, repaired: 0, appliedTime: undefined, handedOver: false };
  for (let steps = 0; steps < stepsMax; steps++) {
    const next = step(facts);
    if (next.kind === "rest") return finish(next, { session, plan, facts, options, counts });
    const before = facts;
    facts = await perform(next, facts, { session, plan, options });
    if (next.kind === "store" && next.handsOver === true) counts.handedOver = true;
    if (next.kind !== "apply") continue;
    const { applied, repaired } = noteAttempts(session.attempts, next.objects, before, facts);
    counts.applied += applied;
    counts.repaired += repaired;
    counts.appliedTime = options.clock.now().toISOString();
  }
  throw new CapitanError(
    "InternalError",
    `cluster ${plan.cluster}: ${stepsMax} steps were not enough`,
  );
}

type Counts = {
  -readonly [K in "applied" | "repaired" | "appliedTime" | "handedOver"]: PassResult[K];
};
type Pass = { readonly session: Session; readonly plan: MemberPlan; readonly options: PassOptions };

async function readFacts(session: Session, plan: MemberPlan, options: PassOptions): Promise<Facts> {
  const { clock, signal, light, claims } = options;
  const { workload } = session;
  const ledger = session.ledger ?? (await workload.inventory.read(signal));
  session.ledger = ledgerOf(ledger, workload.clusterId);
  const searched = mustSearch(plan, session.ledger, session.withdrawn);
  const isRemembered = light && !searched;
  const unlisted = isRemembered
    ? new Map<string, Problem>()
    : await look(session, plan, searched, signal);
  const nowMs = clock.monotonicMs();
  const { member, revision } = plan;
  const facts = startFacts({
    ...plan,
    ledger,
    unlisted,
    searched,
    nowMs,
    triesFirst: plan.as !== undefined,
    claims,
    live: workload.live(),
    layers: revision === undefined ? undefined : (session.placed.get(member)?.layers ?? []),
    clusterId: workload.clusterId,
    pauses: session.attempts.pauses(nowMs),
    thieves: session.thieves,
    unverified: session.unverified.get(member) ?? new Set(),
    refused: refusedBefore(session, member, light),
    held: session.held.get(member) ?? new Map(),
  });
  return { ...facts, prunesMany: options.prunesMany };
}

/**
 * Whether the list of this member's objects was lost, so that they must be searched for: the inventory is
 * gone, or another member has begun a new one since, which does not know of this one. Who has withdrawn
 * has lost nothing, even if the hub's cache does not say so yet.
 */
function mustSearch(
  { owner, knownObjects, remembered }: MemberPlan,
  { header }: Ledger,
  withdrawn: ReadonlySet<string>,
): boolean {
  if (header === undefined) return knownObjects > 0 || remembered !== undefined;
  return !header.pins.has(owner) && knownObjects > 0 && !withdrawn.has(owner);
}

/** A whole look tries again what was refused; a light one does not. */
function refusedBefore({ refused }: Session, member: string, light: boolean) {
  return (light ? refused.get(member) : undefined) ?? new Map<string, Refusal>();
}

/** Has everything watched that the member wants or owns, or, when its inventory was lost, every kind. Gives what cannot be listed. */
async function look(
  { workload, placed, ledger }: Session,
  plan: MemberPlan,
  everything: boolean,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Problem>> {
  const scope = { owner: plan.owner, signal };
  const kinds = everything
    ? await workload.kinds.all(signal)
    : await kindsToObserve(workload, placed.get(plan.member), ledger?.inventory, scope);
  return (await workload.observe(kinds, signal)).unlisted;
}

/** Performs one request, or one batch, and gives the facts as they are afterwards. */
async function perform(
  next: Exclude<Step, { kind: "rest" }>,
  facts: Facts,
  pass: Pass,
): Promise<Facts> {
  if (isLook(next)) return see(next, facts, pass);
  const { session, plan, options } = pass;
  const { signal } = options;
  const hands = session.workload.as(plan.as);
  switch (next.kind) {
    case "store":
      if (next.sequence > facts.sequence) await options.remember(next.sequence);
      await store(session, plan, next, options);
      return learnStored(facts, next.inventory, next.sequence);
    case "confirm":
      await confirm(session, options);
      return { ...facts, fence: "confirmed" };
    case "apply": {
      const asked = questionsAbout(next.objects, facts, session.attempts);
      return learnApplied(facts, next.objects, await hands.apply(next.objects, asked, signal));
    }
    case "release":
      return learnRemoved(facts, await hands.release(next.entries, signal));
    case "delete":
      return removeOrAsk(next.entries, facts, pass);
    case "disarm":
      return learnDisarmed(facts, await hands.disarmFlux(signal));
  }
}

const looks = ["inspect", "seek", "establish", "look"] as const;
/** A request that changes nothing. */
type Look = Step & { readonly kind: (typeof looks)[number] };
const isLook = (next: Step): next is Look => looks.some((kind) => kind === next.kind);

async function see(
  next: Look,
  facts: Facts,
  { session: { workload }, plan, options: { signal } }: Pass,
): Promise<Facts> {
  const hands = workload.as(plan.as);
  switch (next.kind) {
    case "inspect":
      return learnInspected(facts, await hands.inspect(next.objects, signal));
    case "seek":
      return learnInspected(facts, await workload.seek(next.keys, signal));
    case "establish":
      return learnEstablished(facts, await workload.establish(next.keys, signal));
    case "look":
      return learnHealth(facts, await hands.look(liveObjects(next.keys, facts), signal));
  }
}

/** Deletes, unless an input has changed for many clusters at once; what was approved is written down as such. */
async function removeOrAsk(
  entries: readonly Entry[],
  facts: Facts,
  { session, plan, options }: Pass,
): Promise<Facts> {
  const isApproved = entries.every((entry) => entry.approved === true);
  if (!isApproved && !options.mayPrune()) return { ...facts, prunesMany: true };
  return learnRemoved(facts, await session.workload.as(plan.as).delete(entries, options.signal));
}

/** Throws ApiError 409 when the header is not the one in memory, which then is no longer known to be true. */
async function confirm(session: Session, { signal }: PassOptions): Promise<void> {
  const { workload, ledger } = session;
  session.ledger = undefined;
  await workload.inventory.confirm(signal);
  session.ledger = ledger;
}

/** Writes the inventory with this member's pin, or, once it owns nothing any more, without. */
async function store(
  session: Session,
  plan: MemberPlan,
  next: Written,
  { clock, signal }: PassOptions,
): Promise<void> {
  const { workload, ledger, storeAtMs } = session;
  const pins = pinsWith(plan, next, ledger);
  const written = { header: { cluster: workload.clusterId, pins }, inventory: next.inventory };
  // Whatever becomes of the write, what is in memory is no longer known to be true.
  session.ledger = undefined;
  const isComplete = await workload.inventory.storeSoon(written, signal);
  session.ledger = written;
  if (pins.has(plan.owner)) session.withdrawn.delete(plan.owner);
  else session.withdrawn.add(plan.owner);
  session.storeAtMs = isComplete ? undefined : (storeAtMs ?? clock.monotonicMs() + lateMaxMs);
}

type Written = { readonly inventory: Inventory; readonly sequence: number };

function pinsWith(
  { owner, fleet, revision }: MemberPlan,
  next: Written,
  ledger: Ledger | undefined,
): ReadonlyMap<string, Pin> {
  const pins = new Map(ledger?.header?.pins);
  const pin: Pin = {
    sequence: next.sequence,
    revision: revision?.metadata.name ?? pins.get(owner)?.revision ?? "",
    fleet,
  };
  const isGone = revision === undefined && ownedBy(next.inventory, owner).length === 0;
  if (isGone) pins.delete(owner);
  else pins.set(owner, pin);
  return pins;
}

/**
 * Writes down what repairs have learned, once it is due or when it may not wait: without it, a restart
 * would apply these objects once more, for nothing. Gives the milliseconds until it is due.
 */
export async function storeLate(
  session: Session,
  { clock, signal }: Pick<PassOptions, "clock" | "signal">,
  mayWait: boolean,
): Promise<number | undefined> {
  const { workload, ledger, storeAtMs } = session;
  if (storeAtMs === undefined || ledger?.header === undefined) return undefined;
  const waitMs = storeAtMs - clock.monotonicMs();
  if (mayWait && waitMs > 0) return waitMs;
  const { header, inventory } = ledger;
  session.ledger = undefined;
  await workload.inventory.store({ header, inventory }, signal);
  session.ledger = ledger;
  session.storeAtMs = undefined;
  return undefined;
}

async function finish(
  rest: Step & { kind: "rest" },
  {
    session,
    plan,
    facts,
    options,
    counts,
  }: Pass & {
    readonly facts: Facts;
    readonly counts: Readonly<Counts>;
  },
): Promise<PassResult> {
  // Hints that are not worth a write are remembered all the same.
  if (session.ledger !== undefined)
    session.ledger = { ...session.ledger, inventory: facts.inventory };
  session.refused.set(plan.member, refusalsIn(facts));
  session.held.set(plan.member, facts.held);
  session.thieves = facts.thieves;
  session.unverified.set(plan.member, facts.unverified);
  const isWithdrawn =
    plan.revision === undefined && ownedBy(facts.inventory, plan.owner).length === 0;
  if (isWithdrawn && session.ledger?.header?.pins.has(plan.owner) === true)
    await store(session, plan, facts, options);
  const untils = [...facts.pauses.values()]
    .map(({ untilMs }) => untilMs - facts.nowMs)
    .filter((ms) => ms > 0);
  return {
    ...counts,
    layers: rest.layers,
    removal: rest.removal,
    inventory: facts.inventory,
    wakeMs: untils.length === 0 ? undefined : Math.min(...untils),
  };
}

function liveObjects(keys: readonly string[], { live }: Facts) {
  return keys.flatMap((key) => {
    const found = live.get(key);
    return found === undefined ? [] : [{ key, live: found }];
  });
}
