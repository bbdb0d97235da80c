import {
  conditionOf,
  type FleetMember,
  type FleetRevision,
  type RevisionLayer,
} from "../api/index.ts";
import { kubeconfigOf, kubeconfigSecretName } from "../capi/index.ts";
import { CapitanError, isCapitanError, messageOf } from "../errors/index.ts";
import {
  againAfterFailure,
  againAfterPass,
  isSettled,
  sooner,
  untilEvent,
  type Again,
} from "../pace/index.ts";
import { type LayerInputs, type LayerVerdict, type Problem } from "../engine/index.ts";
import {
  clusterKey,
  deletionPolicyOf,
  memberStatus,
  ownerOf,
  type ClusterFacts,
  type MemberOutcome,
} from "../fleet/index.ts";
import { digestOfInventory, ownedBy } from "../inventory/index.ts";
import { annotations } from "../object/index.ts";
import { runPass, type MemberPlan, type PassResult } from "./engine.ts";
import type {
  Clock,
  ClusterHub,
  ConnectionsPort,
  Log,
  Metrics,
  Named,
  WorkloadPort,
} from "./ports.ts";
import { report, timestamp } from "./report.ts";
import type { Sources } from "./sources.ts";

/** One look at a cluster, with all its members, takes no longer: a hostile server must not keep a worker. */
const passMaxMs = 3 * 60_000;

export type ClusterReconcilerOptions = {
  readonly hub: ClusterHub;
  readonly connections: ConnectionsPort;
  readonly sources: Sources;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly secretKey: Uint8Array;
};

/** Does: brings one cluster to what its members are pinned to, one member after the other. */
export class ClusterReconciler {
  readonly #options: ClusterReconcilerOptions;
  /** When each layer of a member's revision was first applied completely; restarts only make a timeout longer. */
  readonly #appliedSince = new Map<
    string,
    { readonly revision: string; readonly layers: Map<string, number> }
  >();

  constructor(options: ClusterReconcilerOptions) {
    this.#options = options;
  }

  /** One level-based pass over the Cluster of this key (`namespace/name`). */
  async reconcile(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const { hub, connections } = this.#options;
    const members = hub
      .membersOn({ namespace, name })
      .filter((m) => hub.fleet(m.spec.fleetRef) !== undefined);
    const cluster = hub.cluster({ namespace, name });
    if (cluster === undefined || members.length === 0) {
      await connections.drop(key);
      return untilEvent;
    }
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(passMaxMs)]);
    try {
      const workload = await this.#connect(cluster, deadline);
      return await this.#reconcileMembers(members, cluster, workload, deadline);
    } catch (error) {
      if (signal.aborted) throw error;
      return this.#failed(members, cluster, error, signal);
    }
  }

  async #connect(cluster: ClusterFacts, signal: AbortSignal): Promise<WorkloadPort> {
    const { hub, connections } = this.#options;
    if (cluster.deleting)
      throw new CapitanError("ClusterDeleting", `Cluster ${clusterKey(cluster)} is being deleted`);
    if (cluster.paused)
      throw new CapitanError("ClusterPaused", `Cluster ${clusterKey(cluster)} is paused`);
    if (!cluster.controlPlaneInitialized)
      throw new CapitanError(
        "ControlPlaneNotInitialized",
        `the control plane of Cluster ${clusterKey(cluster)} is not initialized yet`,
      );
    const secretName = kubeconfigSecretName(cluster.name);
    const what = `Secret ${cluster.namespace}/${secretName}`;
    const kubeconfig = kubeconfigOf(
      await hub.secret({ namespace: cluster.namespace, name: secretName }, signal),
      what,
    );
    return connections.get(
      { key: clusterKey(cluster), clusterUid: cluster.uid, kubeconfig, what },
      signal,
    );
  }

  async #reconcileMembers(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    workload: WorkloadPort,
    signal: AbortSignal,
  ): Promise<Again> {
    const agains: Again[] = [];
    for (const member of members) {
      agains.push(await this.#reconcileOrReport(member, cluster, workload, signal));
    }
    if (agains.every(isSettled)) workload.stopLooking();
    return agains.reduce(sooner);
  }

  /** What goes wrong for one Fleet does not hold the others; a lost connection does. */
  async #reconcileOrReport(
    member: FleetMember,
    cluster: ClusterFacts,
    workload: WorkloadPort,
    signal: AbortSignal,
  ): Promise<Again> {
    try {
      return await this.#reconcileMember(member, cluster, workload, signal);
    } catch (error) {
      const { code } = problemOf(error);
      if (signal.aborted || code === "Unreachable" || code === "CredentialsRejected") throw error;
      await this.#reportProblem([member], cluster, error, signal);
      return againAfterFailure(code);
    }
  }

  async #reconcileMember(
    member: FleetMember,
    cluster: ClusterFacts,
    workload: WorkloadPort,
    signal: AbortSignal,
  ): Promise<Again> {
    const { clock, metrics, log } = this.#options;
    const revision = await this.#revisionOf(member, signal);
    if (revision === undefined && member.spec.state === "Present") {
      const message = `FleetRevision ${member.metadata.namespace ?? ""}/${member.spec.revision} does not exist`;
      await this.#report(
        member,
        { problem: { code: "RevisionNotFound", message }, layers: [] },
        signal,
      );
      return againAfterFailure("RevisionNotFound");
    }
    const plan = await this.#planFor(member, cluster, revision, signal);
    const result = await this.#passes(workload, plan, signal);
    if (result.applied > 0)
      log.info(
        { cluster: clusterKey(cluster), member: member.metadata.name, objects: result.applied },
        "applied",
      );
    metrics.applied(result.applied);
    this.#remember(member, result.layers, clock.monotonicMs());
    const objects = ownedBy(result.inventory, plan.owner).length;
    const sources = new Map(
      revision?.spec.layers.map((layer) => [layer.name, revisionText(layer)]),
    );
    const layers = result.layers.map((layer) => ({ ...layer, revision: sources.get(layer.name) }));
    const { removal, appliedTime } = result;
    await this.#report(
      member,
      {
        layers,
        removal,
        appliedTime,
        inventory: { objects, digest: digestOfInventory(result.inventory) },
      },
      signal,
    );
    return againAfterPass(result.layers, result.removal);
  }

  /** A layer may have brought what another one was missing: then once more, at once. */
  async #passes(
    workload: WorkloadPort,
    plan: MemberPlan,
    signal: AbortSignal,
  ): Promise<PassResult> {
    const { clock } = this.#options;
    const first = await runPass(workload, plan, clock, signal);
    const mayHelp =
      first.applied > 0 && first.layers.some((layer) => layer.problem?.code === "UnknownKind");
    if (!mayHelp) return first;
    const second = await runPass(workload, plan, clock, signal);
    return {
      ...second,
      applied: first.applied + second.applied,
      appliedTime: second.appliedTime ?? first.appliedTime,
    };
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

  async #planFor(
    member: FleetMember,
    cluster: ClusterFacts,
    revision: FleetRevision | undefined,
    signal: AbortSignal,
  ): Promise<MemberPlan> {
    const { spec, metadata } = member;
    const fleet = this.#options.hub.fleet(spec.fleetRef);
    const layers = revision?.spec.layers ?? [];
    const inputs = await Promise.all(
      layers.map(
        async (layer) => [layer.name, await this.#inputsFor(spec.fleetRef, layer, signal)] as const,
      ),
    );
    return {
      owner: ownerOf(spec.fleetRef),
      cluster: clusterKey(cluster),
      revision,
      inputs: new Map(inputs),
      approval: metadata.annotations?.[annotations.approveRemoval],
      secretKey: this.#options.secretKey,
      appliedSinceMs: this.#sinceOf(member),
      knownObjects: member.status?.objects ?? 0,
      leavesBehind: (layer) =>
        fleet !== undefined && deletionPolicyOf(fleet.spec, layer) === "Orphan",
    };
  }

  async #inputsFor(
    fleet: Named,
    layer: RevisionLayer,
    signal: AbortSignal,
  ): Promise<LayerInputs | Problem> {
    try {
      return await this.#options.sources.load(fleet.namespace, layer, signal);
    } catch (error) {
      if (!isCapitanError(error)) throw error;
      // The digest was there when the revision was made.
      const code = error.code === "ArtifactNotFound" ? "ArtifactGone" : error.code;
      return { code, message: error.message };
    }
  }

  #sinceOf({ metadata, spec }: FleetMember): ReadonlyMap<string, number> {
    const held = this.#appliedSince.get(metadata.uid ?? "");
    return held?.revision === spec.revision ? held.layers : new Map();
  }

  #remember(member: FleetMember, layers: readonly LayerVerdict[], nowMs: number): void {
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

  /** Nothing was ever applied to a cluster that was never initialized: whoever is to leave it has left. */
  async #leaveUntouched(members: readonly FleetMember[], signal: AbortSignal): Promise<void> {
    for (const member of members) {
      if (member.spec.state !== "Removed") continue;
      const inventory = { objects: 0, digest: digestOfInventory(new Map()) };
      await this.#report(member, { layers: [], inventory }, signal);
    }
  }

  async #failed(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    error: unknown,
    signal: AbortSignal,
  ): Promise<Again> {
    const { code } = problemOf(error);
    await this.#options.connections.drop(clusterKey(cluster));
    const untouched = code === "ControlPlaneNotInitialized";
    if (untouched) await this.#leaveUntouched(members, signal);
    const others = untouched ? members.filter((m) => m.spec.state === "Present") : members;
    await this.#reportProblem(others, cluster, error, signal);
    return againAfterFailure(code);
  }

  async #reportProblem(
    members: readonly FleetMember[],
    cluster: ClusterFacts,
    error: unknown,
    signal: AbortSignal,
  ): Promise<void> {
    const problem = problemOf(error);
    const unexpected = problem.code === "InternalError" ? { err: error } : {};
    const facts = { cluster: clusterKey(cluster), code: problem.code, ...unexpected };
    // A cluster that is just starting is tried every second: only what is new is logged.
    if (members.some((member) => !saysAlready(member, problem))) {
      this.#options.log.warn(facts, problem.message);
    }
    for (const member of members) await this.#report(member, { problem, layers: [] }, signal);
  }

  async #report(member: FleetMember, outcome: MemberOutcome, signal: AbortSignal): Promise<void> {
    const { hub, clock, log } = this.#options;
    await report(hub, member, memberStatus(member, outcome, timestamp(clock)), {
      clock,
      log,
      signal,
    });
  }
}

function saysAlready({ status }: FleetMember, { code, message }: Problem): boolean {
  const ready = conditionOf(status?.conditions, "Ready");
  return ready?.reason === code && ready.message === message;
}

function problemOf(error: unknown): Problem {
  if (isCapitanError(error)) return { code: error.code, message: error.message };
  return { code: "InternalError", message: `unexpected: ${messageOf(error)}` };
}

/** What people call the layer's content: a version, a tag with its digest, or nothing for inline objects. */
function revisionText({ oci, flux }: RevisionLayer): string | undefined {
  return flux?.version ?? oci?.revision;
}
