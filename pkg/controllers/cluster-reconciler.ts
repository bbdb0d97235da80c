import type { FleetMember } from "../api/index.ts";
import { CapitanError, type Code } from "../errors/index.ts";
import {
  againAfterFailure,
  againAfterPass,
  isSettled,
  sooner,
  untilEvent,
  type Again,
} from "../pace/index.ts";
import {
  clusterKey,
  clusterNamed,
  isManagement,
  momentOf,
  type ClusterFacts,
} from "../cluster/index.ts";
import { heldUpBy } from "../fleet/index.ts";
import { digestOfInventory } from "../inventory/index.ts";
import { annotations } from "../object/index.ts";
import { runPass, storeLate, type MemberPlan, type PassResult } from "./engine.ts";
import { kindsToObserve, placeMember } from "./placing.ts";
import { Members, problemOf, type MembersOptions } from "./members.ts";
import type { ConnectionsPort, Metrics } from "./ports.ts";
import { PruneBudget } from "./prune-budget.ts";
import { outcomeOf } from "./report.ts";
import type { Session } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { arePlanned, claimsOf, unknownWishes } from "./wishes.ts";

/** One look at a cluster, with all its members, takes no longer: a hostile server must not keep a worker. */
const passMaxMs = 3 * 60_000;

export type ClusterReconcilerOptions = MembersOptions & {
  readonly connections: ConnectionsPort;
  readonly metrics: Metrics;
};

type Known = { readonly session: Session; readonly plans: ReadonlyMap<string, MemberPlan> };
type Pass = {
  readonly cluster: ClusterFacts;
  /** All members on the cluster, those that cannot be planned too. */
  readonly members: readonly FleetMember[];
  readonly session: Session;
  readonly light: boolean;
  readonly signal: AbortSignal;
};

/** Does: brings one cluster to what its members are pinned to, one member after the other. */
export class ClusterReconciler {
  readonly #options: ClusterReconcilerOptions;
  readonly #members: Members;
  readonly #sessions: Sessions;
  readonly #pruned = new PruneBudget();
  /** Connected clusters whose last pass was complete, by key. */
  readonly #known = new Map<string, Known>();

  constructor(options: ClusterReconcilerOptions) {
    this.#options = options;
    this.#members = new Members(options);
    this.#sessions = new Sessions(options);
  }

  /**
   * One level-based pass over the cluster of this key. With `light`, only what
   * the watches of the cluster tell is looked at, as long as memory is known to be true.
   */
  async reconcile(key: string, signal: AbortSignal, light = false): Promise<Again> {
    const named = clusterNamed(key);
    const { hub, connections } = this.#options;
    const members = this.#members.on(named);
    const cluster = hub.cluster(named);
    if (cluster === undefined || members.length === 0) {
      this.#known.delete(key);
      await connections.drop(key);
      return untilEvent;
    }
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(passMaxMs)]);
    try {
      this.#refuse(cluster);
      return await this.#passOnce(members, cluster, deadline, light);
    } catch (error) {
      if (signal.aborted) throw error;
      return this.#failed(members, cluster, error, signal);
    }
  }

  /** Rejected credentials may have been renewed: the Secret is read once more, and only then is it reported. */
  async #passOnce(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    signal: AbortSignal,
    light: boolean,
  ): Promise<Again> {
    const key = clusterKey(cluster);
    const before = this.#options.connections.held(key);
    try {
      return await this.#pass(members, cluster, signal, light);
    } catch (error) {
      const isStale = before !== undefined && problemOf(error).code === "CredentialsRejected";
      if (!isStale || signal.aborted) throw error;
      this.#known.delete(key);
      await this.#options.connections.drop(key);
      return this.#pass(members, cluster, signal, false);
    }
  }

  async #pass(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    signal: AbortSignal,
    light: boolean,
  ): Promise<Again> {
    const key = clusterKey(cluster);
    const known = this.#known.get(key);
    const workload = this.#options.connections.held(key);
    const isKnown =
      known !== undefined && workload === known.session.workload && workload.isCurrent(false);
    if (light && isKnown && arePlanned(members, known.plans)) {
      const pass = { cluster, members, session: known.session, light, signal };
      return this.#passMembers(members, known.plans, pass);
    }
    const session = await this.#sessions.open(cluster, known?.session, signal);
    if (!isManagement(cluster)) this.#members.refuseMixUp(cluster, session.workload.clusterId);
    session.workload.isCurrent(true);
    return this.#passAnew(members, { cluster, members, session, light: false, signal });
  }

  /** Reads what the members want and what is in the cluster, and then does what is to be done. */
  async #passAnew(members: readonly FleetMember[], pass: Pass): Promise<Again> {
    const { cluster, session, signal } = pass;
    const { clock } = this.#options;
    const key = clusterKey(cluster);
    this.#known.delete(key);
    const plans = new Map<string, MemberPlan>();
    const agains: Again[] = [];
    for (const member of members) {
      const plan = await this.#members.plan(member, pass, signal);
      if (!("code" in plan)) {
        plans.set(member.metadata.name, plan);
        await placeMember(session, plan, signal);
        continue;
      }
      await this.#members.report(member, { problem: plan, layers: [] }, signal);
      agains.push(againAfterFailure(plan.code));
    }
    session.retain(new Set(plans.keys()));
    if (session.isSweepDue(clock)) session.verifyAll();
    const planned = members.filter(({ metadata }) => plans.has(metadata.name));
    if (planned.length > 0) agains.push(await this.#passMembers(planned, plans, pass));
    await this.#watch(pass, plans);
    // A member that could not be planned needs the hub again, not only the cluster.
    if (planned.length === members.length) this.#known.set(key, { session, plans });
    return agains.reduce(sooner);
  }

  /** What the members want and own is watched from now on, and nothing else. */
  async #watch({ session, signal }: Pass, plans: ReadonlyMap<string, MemberPlan>): Promise<void> {
    const { workload, ledger } = session;
    const kinds = await Promise.all(
      [...plans].map(([name, { owner }]) =>
        kindsToObserve(workload, session.placed.get(name), ledger?.inventory, { owner, signal }),
      ),
    );
    await workload.observe(kinds.flat(), signal);
    workload.retain(kinds.flat());
  }

  #refuse(cluster: ClusterFacts): void {
    const key = clusterKey(cluster);
    if (cluster.deleting)
      throw new CapitanError("ClusterDeleting", `Cluster ${key} is being deleted`);
    if (cluster.paused) throw new CapitanError("ClusterPaused", `Cluster ${key} is paused`);
    if (!cluster.controlPlaneInitialized) {
      const message = `the control plane of Cluster ${key} is not initialized yet`;
      throw new CapitanError("ControlPlaneNotInitialized", message);
    }
    if (this.#suspendedMs(cluster) > 0) {
      const message = `Cluster ${key} is suspended until ${cluster.suspendedUntil ?? ""}: what is changed there is left alone`;
      throw new CapitanError("ClusterSuspended", message);
    }
  }

  #suspendedMs({ suspendedUntil }: ClusterFacts): number {
    const until = momentOf(suspendedUntil);
    return Number.isNaN(until) ? 0 : until - this.#options.clock.now().getTime();
  }

  async #passMembers(
    members: readonly FleetMember[],
    plans: ReadonlyMap<string, MemberPlan>,
    pass: Pass,
  ): Promise<Again> {
    const agains: Again[] = [];
    for (const member of members) {
      const plan = plans.get(member.metadata.name);
      if (plan === undefined) continue;
      const unknown = unknownWishes(pass.members, member, plans, pass.session);
      const waits = heldUpBy(unknown, this.#options.clock.now());
      const claims = claimsOf(plans, member, pass.session);
      agains.push(await this.#passOrReport(member, plan, pass, { claims, waits }));
    }
    if (agains.every(isSettled)) pass.session.workload.stopLooking();
    return agains.reduce(sooner, untilEvent);
  }

  /** What goes wrong for one Fleet does not hold the others; a lost connection does. */
  async #passOrReport(
    member: FleetMember,
    plan: MemberPlan,
    pass: Pass,
    {
      claims,
      waits,
    }: { readonly claims: ReadonlyMap<string, string>; readonly waits: string | undefined },
  ): Promise<Again> {
    try {
      const standing = this.#members.refresh(plan, member, pass);
      const fresh = { ...standing, removalWaits: standing.removalWaits ?? waits };
      return await this.#passMember(member, fresh, pass, claims);
    } catch (error) {
      const { code } = problemOf(error);
      pass.session.ledger = undefined;
      if (pass.signal.aborted || endsConnection(code)) throw error;
      if (code === "AnotherHub" && member.spec.state === "Removed" && plan.leavesBehind("")) {
        // Another hub has the cluster now, and this one was told to leave everything there.
        await this.#leaveUntouched([member], pass.signal);
        return untilEvent;
      }
      await this.#members.reportOrLog(member, pass.cluster, error, pass.signal);
      return againAfterFailure(code);
    }
  }

  async #passMember(
    member: FleetMember,
    plan: MemberPlan,
    { cluster, session, light, signal }: Pass,
    claims: ReadonlyMap<string, string>,
  ): Promise<Again> {
    const { clock } = this.#options;
    const { clusterId } = session.workload;
    const known = member.status?.clusterID;
    if (known !== undefined && known !== clusterId)
      await this.#members.tellReplaced(member, cluster, clusterId, signal);
    const remembered = await this.#takeOver(member, plan, session, signal);
    let blocks = member.metadata.annotations?.[annotations.blockMove] !== undefined;
    const remember = async (sequence: number) => {
      const blockMove = !light && !blocks;
      blocks ||= blockMove;
      await this.#members.remember(member, { sequence, blockMove }, signal);
    };
    const pruning = this.#pruned.forMember(member, plan, clock.monotonicMs());
    const options = { clock, signal, light, claims, remember, ...pruning };
    let result: PassResult;
    try {
      result = await this.#passes(session, { ...plan, remembered }, options);
    } finally {
      if (blocks) await this.#members.unblockMove(member, signal);
    }
    this.#count(member, cluster, result);
    this.#members.noteApplied(member, result.layers, clock.monotonicMs());
    const again = againAfterPass(result.layers, result.removal);
    const mayWait = again.kind === "after";
    const storeMs = await storeLate(session, { clock, signal }, mayWait);
    const outcome = outcomeOf(plan, result, clusterId);
    const reportMs = await this.#members.reportPass(member, outcome, { session, mayWait }, signal);
    return [result.handedOver ? 1 : undefined, result.wakeMs, storeMs, reportMs]
      .filter((ms) => ms !== undefined)
      .map((ms): Again => ({ kind: "after", ms, light: true }))
      .reduce(sooner, again);
  }

  #count(member: FleetMember, cluster: ClusterFacts, { applied, repaired }: PassResult): void {
    const { log, metrics } = this.#options;
    const facts = { cluster: clusterKey(cluster), member: member.metadata.name };
    if (repaired > 0) log.info({ ...facts, objects: repaired }, "repaired");
    else if (applied > 0) log.info({ ...facts, objects: applied }, "applied");
    metrics.applied(applied);
    if (repaired > 0) metrics.repaired(repaired, facts.cluster);
  }

  /** The remembered sequence number; a hub that knows none takes over the one that is found. */
  async #takeOver(
    member: FleetMember,
    { owner, remembered }: MemberPlan,
    session: Session,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    session.ledger ??= await session.workload.inventory.read(signal);
    const { header } = session.ledger;
    const pin = header?.cluster === session.workload.clusterId ? header.pins.get(owner) : undefined;
    if (pin === undefined) return remembered;
    if (remembered !== undefined && remembered >= pin.sequence) return remembered;
    const known = await this.#members.recall(member, signal);
    if (known !== undefined) return known;
    await this.#members.remember(member, pin, signal);
    return pin.sequence;
  }

  /** A layer may have brought what another one was missing: then once more, at once. */
  async #passes(
    session: Session,
    plan: MemberPlan,
    options: Parameters<typeof runPass>[2],
  ): Promise<PassResult> {
    const first = await runPass(session, plan, options);
    const mayHelp =
      first.applied > 0 && first.layers.some((layer) => layer.problem?.code === "UnknownKind");
    if (!mayHelp) return first;
    await placeMember(session, plan, options.signal);
    const second = await runPass(session, plan, options);
    return {
      ...second,
      applied: first.applied + second.applied,
      appliedTime: second.appliedTime ?? first.appliedTime,
    };
  }

  async #failed(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    error: unknown,
    signal: AbortSignal,
  ): Promise<Again> {
    const { code } = problemOf(error);
    this.#known.delete(clusterKey(cluster));
    await this.#options.connections.drop(clusterKey(cluster));
    const isNew = code === "ControlPlaneNotInitialized";
    const leaving = isNew ? members.filter(wasNeverThere) : [];
    await this.#leaveUntouched(leaving, signal);
    const others = members.filter((member) => !leaving.includes(member));
    await this.#members.reportProblem(others, cluster, error, signal);
    await this.#unblock(members, signal);
    if (code !== "ClusterSuspended") return againAfterFailure(code);
    return { kind: "after", ms: Math.max(1, this.#suspendedMs(cluster)) };
  }

  /** Nothing was ever applied to a cluster that was never initialized: whoever is to leave it has left. */
  async #leaveUntouched(members: readonly FleetMember[], signal: AbortSignal): Promise<void> {
    const inventory = { objects: 0, digest: digestOfInventory([]) };
    for (const member of members)
      await this.#members.report(member, { layers: [], inventory }, signal);
  }

  /** Nothing is in flight on a cluster that cannot be worked on: a move need not wait for it. */
  async #unblock(members: readonly FleetMember[], signal: AbortSignal): Promise<void> {
    const blocked = members.filter(
      ({ metadata }) => metadata.annotations?.[annotations.blockMove] !== undefined,
    );
    for (const member of blocked) await this.#members.unblockMove(member, signal);
  }
}

/** Whether a problem is one of the connection, so that nothing on it can go on. */
const endsConnection = (code: Code) => code === "Unreachable" || code === "CredentialsRejected";

/** Whether the member is to leave and has never written anything: a move or a restore loses what a Cluster says of itself. */
function wasNeverThere({ metadata, spec, status }: FleetMember): boolean {
  const hasWritten = metadata.annotations?.[annotations.sequence] !== undefined;
  const wasReached = status?.clusterID !== undefined || (status?.objects ?? 0) > 0;
  return spec.state === "Removed" && !hasWritten && !wasReached;
}
