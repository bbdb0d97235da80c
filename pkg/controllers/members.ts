import {
  conditionOf,
  type Fleet,
  type FleetMember,
  type FleetRevision,
  type RevisionLayer,
} from "../api/index.ts";
import { CapitanError, isCapitanError, messageOf } from "../errors/index.ts";
import type { LayerInputs, LayerVerdict, Problem } from "../engine/index.ts";
import { clusterKey, isManagement, isWithdrawn, type ClusterFacts } from "../cluster/index.ts";
import {
  knownAsAnother,
  leavesBehind,
  ownerOf,
  removalWaitsFor,
  userOf,
  type Tenancy,
} from "../fleet/index.ts";
import { memberStatus, withoutRepairs, type MemberOutcome } from "../status/index.ts";
import { canonicalJson } from "../json/index.ts";
import { annotations, keyOf } from "../object/index.ts";
import { lateMaxMs, type MemberPlan } from "./engine.ts";
import type { Audience } from "./content.ts";
import { plantedName, type Identities } from "./identities.ts";
import type { Actor, Clock, ClusterHub, Log, Named } from "./ports.ts";
import { emit, report, timestamp } from "./report.ts";
import type { Session } from "./session.ts";
import { nameOfKubeconfig } from "./sessions.ts";
import type { Sources } from "./sources.ts";

const fleetId = { group: "capitan.dev", kind: "Fleet" } as const;

export type MembersOptions = {
  readonly hub: ClusterHub;
  readonly sources: Sources;
  readonly identities: Identities;
  readonly clock: Clock;
  readonly log: Log;
  readonly tenancy: Tenancy;
};

/**
 * A cluster with the members that a pass began with. What the pass knows of their wishes is from then:
 * a member that came since must not count as heard.
 */
export type OnCluster = {
  readonly cluster: ClusterFacts;
  readonly members: readonly FleetMember[];
};

type Connected = OnCluster & { readonly session: Session };

/** The members of clusters as the hub has them: what they want, what is remembered of them, what is reported. */
export class Members {
  readonly #options: MembersOptions;
  /** When each layer of a member's revision was first applied completely; restarts only make a timeout longer. */
  readonly #appliedSince = new Map<
    string,
    { readonly revision: string; readonly layers: Map<string, number> }
  >();

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  /**
   * The members on a cluster whose Fleet is known, in a stable order: one of each Fleet, and only
   * of Fleets of the member's own namespace, whoever wrote them.
   */
  on(cluster: Named): readonly FleetMember[] {
    const { hub } = this.#options;
    const known = hub
      .membersOn(cluster)
      .filter(({ metadata, spec: { fleetRef } }) => fleetRef.namespace === metadata.namespace)
      .filter(({ spec: { fleetRef } }) => hub.fleet(fleetRef) !== undefined);
    const fleets = Map.groupBy(known, ({ spec }) => clusterKey(spec.fleetRef));
    return [...fleets.values()].flatMap((members) => members[0] ?? []);
  }

  /** What the member wants of its cluster, or why that is not known. */
  async plan(
    member: FleetMember,
    on: Connected,
    signal: AbortSignal,
  ): Promise<MemberPlan | Problem> {
    const { spec, metadata } = member;
    const standing = orProblem(() => this.#standing(member, on));
    if ("code" in standing) return standing;
    const revision = await this.#revisionOf(member, signal);
    if (revision === undefined && spec.state === "Present") {
      const message = `FleetRevision ${metadata.namespace ?? ""}/${spec.revision} does not exist`;
      return { code: "RevisionNotFound", message };
    }
    const layers = revision?.spec.layers ?? [];
    const { namespace = "" } = metadata;
    const cluster = { ...on.cluster.context, namespace };
    const audience = { fleet: spec.fleetRef, cluster, as: standing.as };
    const inputs = await Promise.all(
      layers.map(
        async (layer) =>
          [layer.name, await this.#inputsFor(layer, { audience, on }, signal)] as const,
      ),
    );
    return { ...standing, revision, inputs: new Map(inputs) };
  }

  /** The same plan with what may have changed since without the revision changing. Throws NamespaceNotAllowed. */
  refresh(plan: MemberPlan, member: FleetMember, on: OnCluster): MemberPlan {
    return { ...plan, ...this.#standing(member, on) };
  }

  #standing(member: FleetMember, { cluster, members }: OnCluster) {
    const { hub, clock } = this.#options;
    const { spec, metadata } = member;
    const fleet = hub.fleet(spec.fleetRef);
    return {
      member: metadata.name,
      owner: ownerOf(spec.fleetRef),
      as: this.#userFor(fleet, spec.fleetRef),
      fleet: clusterKey(spec.fleetRef),
      cluster: clusterKey(cluster),
      withdraws: spec.state === "Removed" && isWithdrawn(cluster, clock.now()),
      self: isManagement(cluster) ? keyOf({ ...fleetId, ...spec.fleetRef }) : undefined,
      approval: metadata.annotations?.[annotations.approveRemoval],
      appliedSinceMs: this.#sinceOf(member),
      knownObjects: member.status?.objects ?? 0,
      remembered: rememberedOf(member),
      removalWaits: removalWaitsFor(cluster, spec.fleetRef, {
        fleets: hub.fleetsBeside(cluster),
        members,
        now: clock.now(),
      }),
      leavesBehind: (layer: string) => fleet !== undefined && leavesBehind(fleet.spec, layer),
    };
  }

  /** As whom the Fleet acts, as it says now: never, by whatever is missing, as the controller. */
  #userFor(fleet: Fleet | undefined, name: Named): Actor {
    if (fleet !== undefined) return userOf(fleet, this.#options.tenancy);
    throw new CapitanError("NotFound", `Fleet ${clusterKey(name)} does not exist`);
  }

  /**
   * The member's sequence number, from the API server itself: a cache lags behind writes, ours and
   * another leader's. What this process wrote is no proof: the hub may have been restored since.
   */
  async recall(member: FleetMember, signal: AbortSignal): Promise<number | undefined> {
    const { namespace = "", name } = member.metadata;
    const fresh = await this.#options.hub.freshMember({ namespace, name }, signal);
    return fresh === undefined ? undefined : rememberedOf(fresh);
  }

  /** Remembers on the hub that this sequence number is used on the member's cluster; with `blockMove`, clusterctl waits with a move. */
  async remember(
    { metadata }: FleetMember,
    { sequence, blockMove = false }: { readonly sequence: number; readonly blockMove?: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { namespace = "", name } = metadata;
    const values = {
      [annotations.sequence]: String(sequence),
      ...(blockMove ? { [annotations.blockMove]: "true" } : {}),
    };
    await this.#options.hub.annotateMember({ namespace, name }, values, signal);
  }

  /** Nothing is in flight any more: clusterctl may move the cluster. */
  async unblockMove({ metadata }: FleetMember, signal: AbortSignal): Promise<void> {
    const { namespace = "", name } = metadata;
    const values = { [annotations.blockMove]: null };
    await this.#options.hub.annotateMember({ namespace, name }, values, signal);
  }

  async #revisionOf(
    { metadata, spec }: FleetMember,
    signal: AbortSignal,
  ): Promise<FleetRevision | undefined> {
    if (spec.state === "Removed") return undefined;
    return this.#options.hub.revision(
      { namespace: spec.fleetRef.namespace || (metadata.namespace ?? ""), name: spec.revision },
      signal,
    );
  }

  async #inputsFor(
    layer: RevisionLayer,
    { audience, on }: { readonly audience: Audience; readonly on: Connected },
    signal: AbortSignal,
  ): Promise<LayerInputs | Problem> {
    const { identities, sources } = this.#options;
    const { as } = audience;
    try {
      const decrypts = layer.flux?.sync?.decryption !== undefined;
      const planted = decrypts
        ? await on.session.workload.as(as).secretData(plantedName, signal)
        : undefined;
      const ageKeys = decrypts
        ? await identities.of(audience.cluster, { as, planted }, signal)
        : undefined;
      await sources.refuseRetired(layer, { ...audience, ageKeys }, signal);
      return await sources.load(layer, { ...audience, ageKeys }, signal);
    } catch (error) {
      if (!isCapitanError(error)) throw error;
      // The digest or commit was there when the revision was made.
      const isGone = error.code === "ArtifactNotFound" || error.code === "GitNotFound";
      const code = isGone ? "ArtifactGone" : error.code;
      return { code, message: error.message };
    }
  }

  #sinceOf({ metadata, spec }: FleetMember): ReadonlyMap<string, number> {
    const held = this.#appliedSince.get(metadata.uid ?? "");
    return held?.revision === spec.revision ? held.layers : new Map();
  }

  /** Takes note of when layers were first seen applied. */
  noteApplied(member: FleetMember, layers: readonly LayerVerdict[], nowMs: number): void {
    const since = new Map(this.#sinceOf(member));
    for (const layer of layers) {
      if (!layer.applied || layer.state === "Ready") since.delete(layer.name);
      else if (!since.has(layer.name)) since.set(layer.name, nowMs);
    }
    this.#appliedSince.set(member.metadata.uid ?? "", {
      revision: member.spec.revision,
      layers: since,
    });
  }

  /** Throws KubeconfigMismatch when the cluster that answers is known as another Cluster. */
  refuseMixUp(cluster: Named, clusterId: string): void {
    const { hub } = this.#options;
    const exists = (name: Named) => hub.cluster(name) !== undefined;
    const other = knownAsAnother(clusterId, cluster, hub.membersAt(clusterId), exists);
    if (other === undefined) return;
    const message = `the kubeconfig in ${nameOfKubeconfig(cluster)} leads to the cluster that is known as Cluster ${clusterKey(other)} (namespace kube-system ${clusterId}), not to one of its own`;
    throw new CapitanError("KubeconfigMismatch", message);
  }

  /** Another cluster answers under this name: people must know, since nothing of the former one is removed. */
  async tellReplaced(
    member: FleetMember,
    cluster: Named,
    clusterId: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { hub, clock, log } = this.#options;
    const note = `another cluster answers as ${clusterKey(cluster)}: namespace kube-system is ${clusterId}, it was ${member.status?.clusterID ?? ""}; it is treated as a new cluster`;
    log.warn({ cluster: clusterKey(cluster), member: member.metadata.name }, note);
    const event = { regarding: member, type: "Warning", reason: "ClusterReplaced", note } as const;
    await emit(hub, { ...event, action: "Connect" }, { clock, log, signal });
  }

  /**
   * The same for a complete pass, whose outcome may wait when `mayWait`. What only repairs have changed
   * is written once a second at most, so that a cluster that drifts does not wait for the hub. Gives
   * the milliseconds after which to look again, if something was not written yet.
   */
  async reportPass(
    member: FleetMember,
    passed: MemberOutcome,
    { session, mayWait }: { readonly session: Session; readonly mayWait: boolean },
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { clock } = this.#options;
    const { name } = member.metadata;
    const held = session.unreported.get(name);
    const nowMs = clock.monotonicMs();
    const { dueMs = nowMs + lateMaxMs, appliedTime } = held ?? {};
    const outcome = { ...passed, appliedTime: passed.appliedTime ?? appliedTime };
    const status = memberStatus(member, outcome, timestamp(clock));
    if (mayWait && nowMs < dueMs && isNewByRepairs(member.status, status)) {
      session.unreported.set(name, { dueMs, appliedTime: outcome.appliedTime });
      return dueMs - nowMs;
    }
    session.unreported.delete(name);
    await this.report(member, outcome, signal);
    return undefined;
  }

  /** Writes what a pass came to. */
  async report(member: FleetMember, outcome: MemberOutcome, signal: AbortSignal): Promise<void> {
    const { hub, clock, log } = this.#options;
    const status = memberStatus(member, outcome, timestamp(clock));
    await report(hub, member, status, { clock, log, signal });
  }

  /** The same for one member, whose status the hub may refuse: that must not hold the others. */
  async reportOrLog(
    member: FleetMember,
    cluster: Named,
    error: unknown,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.reportProblem([member], cluster, error, signal);
    } catch (refused) {
      const facts = { cluster: clusterKey(cluster), member: member.metadata.name };
      this.#options.log.error(facts, `status: ${messageOf(refused)}`);
    }
  }

  /** Says of all members why nothing could be done; only what is new is logged, since clusters that start are tried every second. */
  async reportProblem(
    members: readonly FleetMember[],
    cluster: Named,
    error: unknown,
    signal: AbortSignal,
  ): Promise<void> {
    const problem = problemOf(error);
    const unexpected = problem.code === "InternalError" ? { err: error } : {};
    const facts = { cluster: clusterKey(cluster), code: problem.code, ...unexpected };
    if (members.some((member) => !saysAlready(member, problem)))
      this.#options.log.warn(facts, problem.message);
    for (const member of members) await this.report(member, { problem, layers: [] }, signal);
  }
}

/** What is decided, or the reason why not. */
function orProblem<T>(decide: () => T): T | Problem {
  try {
    return decide();
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return problemOf(error);
  }
}

/** The sequence number that the member carries; undefined when it carries none. */
function rememberedOf({ metadata }: FleetMember): number | undefined {
  const said = Number(metadata.annotations?.[annotations.sequence] ?? Number.NaN);
  return Number.isSafeInteger(said) ? said : undefined;
}

/** Whether two statuses differ, but only in what repairs move. */
function isNewByRepairs(before: FleetMember["status"], now: FleetMember["status"]): boolean {
  const same = (a: object | undefined, b: object | undefined) =>
    canonicalJson(a ?? {}) === canonicalJson(b ?? {});
  return !same(before, now) && same(withoutRepairs(before), withoutRepairs(now));
}

function saysAlready({ status }: FleetMember, { code, message }: Problem): boolean {
  const ready = conditionOf(status?.conditions, "Ready");
  return ready?.reason === code && ready.message === message;
}

/** What went wrong, in a code and in words. */
export function problemOf(error: unknown): Problem {
  if (isCapitanError(error)) return { code: error.code, message: error.message };
  return { code: "InternalError", message: `unexpected: ${messageOf(error)}` };
}
