import { durationMs, type Fleet, type FleetMember } from "../api/index.ts";
import { CapitanError, isCapitanError, messageOf, type Code } from "../errors/index.ts";
import { untilEvent, type Again } from "../pace/index.ts";
import { type Problem } from "../engine/index.ts";
import {
  momentOf,
  clusterKey,
  clusterOf,
  isManagement,
  isWithdrawn,
  managementFacts,
  type ClusterFacts,
} from "../cluster/index.ts";
import {
  configMapsOf,
  guardActions,
  isLeaving,
  isSelected,
  planMembers,
  recentlyLeft,
  revisionName,
  targetsManagement,
  userOf,
  type Tenancy,
  type MemberAction,
} from "../fleet/index.ts";
import { fleetStatus, type FleetOutcome } from "../status/index.ts";
import { annotations } from "../object/index.ts";
import { changesIn, droppedBy, type Dropped } from "./dropped.ts";
import type { Actor, Clock, FleetHub, Log, Named } from "./ports.ts";
import { report, timestamp } from "./report.ts";
import type { RotationSchedule } from "./rotation-schedule.ts";
import type { Sources } from "./sources.ts";

/** Revisions that no member is pinned to and that are kept all the same. */
const revisionsKept = 5;
/** Problems with which not even the members that exist are looked after. */
const blocking = new Set<Code>(["NamespaceNotAllowed", "CapiVersionUnsupported"]);
const retry: Again = { kind: "backoff", baseMs: 1_000, maxMs: 5 * 60_000, flatTries: 0 };

export type FleetReconcilerOptions = {
  readonly hub: FleetHub;
  readonly sources: Sources;
  readonly clock: Clock;
  readonly log: Log;
  readonly tenancy: Tenancy;
  /** Throws CapiVersionUnsupported when the hub's Cluster API is too old. */
  readonly checkHub: (signal: AbortSignal) => Promise<void>;
  readonly schedule: Pick<RotationSchedule, "look">;
};

type Resolved = {
  readonly generation: number;
  readonly trigger: string;
  readonly atMs: number;
  readonly time: string;
  readonly revision: string;
};

/** Decides: resolves a Fleet into an immutable revision and pins members to it. */
export class FleetReconciler {
  readonly #options: FleetReconcilerOptions;
  readonly #resolved = new Map<string, Resolved>();
  /** Which revisions a Fleet used when its others were last looked for. */
  readonly #collected = new WeakMap<Resolved, string>();

  constructor(options: FleetReconcilerOptions) {
    this.#options = options;
  }

  /** One level-based pass over the Fleet of this key (`namespace/name`). */
  async reconcile(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const fleet = this.#options.hub.fleet({ namespace, name });
    if (fleet === undefined || isMovedAway(fleet)) {
      this.#resolved.delete(key);
      if (fleet !== undefined) await this.#options.hub.setFinalizer(fleet, false, signal);
      return untilEvent;
    }
    const decided = await this.#decide(key, fleet, signal);
    const { problem: unresolved, resolved } = decided;
    const acted = await this.#actOnMembers(fleet, decided, signal);
    if (await this.#released(fleet, signal)) return untilEvent;
    const problem = unresolved ?? acted.held;
    await this.#report(fleet, { problem, resolved, leaving: acted.leaving }, signal);
    if (unresolved !== undefined) return retry;
    if (resolved !== undefined) await this.#collectRevisions(fleet, resolved, signal);
    const dueMs = await this.#options.schedule.look(fleet, signal);
    return {
      kind: "after",
      ms: Math.min(this.#untilNextMs(fleet, resolved), Math.max(1_000, dueMs)),
    };
  }

  /** A deleted Fleet is let go when its last member has withdrawn. */
  async #released(fleet: Fleet, signal: AbortSignal): Promise<boolean> {
    const { hub } = this.#options;
    if (fleet.metadata.deletionTimestamp === undefined) return false;
    if (hub.membersOf(nameOf(fleet)).length > 0) return false;
    if (await hub.hasMembers(nameOf(fleet), signal)) return false;
    await hub.setFinalizer(fleet, false, signal);
    return true;
  }

  /** The revision that members are to have, or why there is none. A Fleet that cannot be resolved keeps what it has. */
  async #decide(
    key: string,
    fleet: Fleet,
    signal: AbortSignal,
  ): Promise<{ problem?: Problem; resolved?: Resolved }> {
    try {
      const as = this.#userOf(fleet);
      if (this.#needsClusters(fleet)) await this.#options.checkHub(signal);
      if (fleet.metadata.deletionTimestamp !== undefined) return {};
      await this.#options.hub.setFinalizer(fleet, true, signal);
      if (fleet.spec.suspend) return {};
      return { resolved: await this.#resolve(key, fleet, as, signal) };
    } catch (error) {
      if (signal.aborted) throw error;
      const code = isCapitanError(error) ? error.code : "InternalError";
      const message = isCapitanError(error) ? error.message : `unexpected: ${messageOf(error)}`;
      const unexpected = code === "InternalError" ? { err: error } : {};
      this.#options.log.warn({ fleet: key, code, ...unexpected }, message);
      return { problem: { code, message } };
    }
  }

  /** The hub itself may be brought what Cluster API is made of. */
  #needsClusters(fleet: Fleet): boolean {
    const members = this.#options.hub.membersOf(nameOf(fleet));
    const isOnlyHere = members.every((member) => isManagement(clusterOf(member)));
    return !targetsManagement(fleet) || !isOnlyHere;
  }

  /** As whom the Fleet acts. Throws NamespaceNotAllowed. */
  #userOf(fleet: Fleet): Actor {
    const { namespace = "" } = fleet.metadata;
    const { tenancy } = this.#options;
    if (targetsManagement(fleet) && !tenancy.platformNamespaces.has(namespace)) {
      const message = `Fleets in namespace ${namespace} must not have target: Management: it is not one of the platform namespaces`;
      throw new CapitanError("NamespaceNotAllowed", message);
    }
    return userOf(fleet, tenancy);
  }

  async #resolve(key: string, fleet: Fleet, as: Actor, signal: AbortSignal): Promise<Resolved> {
    const { hub, sources, clock } = this.#options;
    const { namespace } = nameOf(fleet);
    const versions = [...configMapsOf(fleet.spec)].map((of) =>
      hub.configMapVersion({ namespace, name: of }),
    );
    const trigger = `${triggerOf(fleet)}/${versions.join(",")}`;
    const held = this.#resolved.get(key);
    const ageMs = clock.monotonicMs() - (held?.atMs ?? 0);
    if (held?.trigger === trigger && ageMs < durationMs(fleet.spec.interval)) return held;
    const spec = await sources.resolve(fleet, as, signal);
    const revision = revisionName(fleet.metadata.name, spec);
    await hub.writeRevision(fleet, revision, spec, signal);
    // The time is not moved when nothing was found to be new: an unchanged Fleet is not written.
    const same = held?.trigger === trigger && held.revision === revision;
    const time = same ? held.time : clock.now().toISOString();
    const generation = fleet.metadata.generation ?? 0;
    const resolved = { generation, trigger, atMs: clock.monotonicMs(), time, revision };
    this.#resolved.set(key, resolved);
    return resolved;
  }

  async #actOnMembers(
    fleet: Fleet,
    { problem, resolved }: { readonly problem?: Problem; readonly resolved?: Resolved },
    signal: AbortSignal,
  ): Promise<Acted> {
    const none = { leaving: [], held: undefined };
    if (problem !== undefined && blocking.has(problem.code)) return none;
    if (fleet.spec.suspend && fleet.metadata.deletionTimestamp === undefined) return none;
    const members = this.#options.hub.membersOf(nameOf(fleet));
    // A Fleet that cannot be resolved now gives new clusters what it gave the others.
    const revision = resolved?.revision ?? fleet.status?.updateRevision;
    const now = this.#options.clock.now();
    const clusters = this.#clustersOf(fleet);
    const actions = planMembers({ fleet, clusters, members, revision, now });
    const dropped = await this.#droppedBy(fleet, actions, members, signal);
    const guarded = guardActions({ fleet, members, actions, dropped, now });
    const leaving = guarded.actions.flatMap((action) =>
      action.kind === "write" && isLeaving(action, members, now) ? [action.cluster.name] : [],
    );
    // Who leaves is written down first, so that a crash does not start the count anew.
    if (leaving.length > 0) await this.#recordLeaving(fleet, leaving, signal);
    await Promise.all(guarded.actions.map((action) => this.#act(fleet, action, signal)));
    return { leaving, held: guarded.problem };
  }

  async #recordLeaving(
    fleet: Fleet,
    leaving: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { hub, clock } = this.#options;
    const base = fleet.status ?? { observedGeneration: -1 };
    const status = { ...base, left: recentlyLeft(fleet, clock.now(), leaving) };
    await hub.writeStatus(fleet, status, signal);
  }

  /** What these actions would delete by moving members to another revision. */
  #droppedBy(
    fleet: Fleet,
    actions: readonly MemberAction[],
    members: readonly FleetMember[],
    signal: AbortSignal,
  ): Promise<Dropped> {
    const { hub, sources, tenancy } = this.#options;
    const { namespace } = nameOf(fleet);
    const revision = (name: string) => hub.revision({ namespace, name }, signal);
    const means = { fleet: nameOf(fleet), as: userOf(fleet, tenancy), sources, revision };
    return droppedBy(changesIn(actions, members), means, signal);
  }

  async #act(fleet: Fleet, action: MemberAction, signal: AbortSignal): Promise<void> {
    const { hub, log } = this.#options;
    const { namespace } = nameOf(fleet);
    if (action.kind === "write") {
      log.info(
        {
          fleet: clusterKey(nameOf(fleet)),
          member: action.name,
          cluster: action.cluster.name,
          revision: action.spec.revision,
          state: action.spec.state,
        },
        "pinning member",
      );
      return hub.writeMember(action.name, action.cluster, action.spec, signal);
    }
    if (
      action.confirmClusterGone &&
      !(await hub.clusterIsGone({ namespace, name: action.cluster }, signal))
    )
      return;
    log.info(
      { fleet: clusterKey(nameOf(fleet)), member: action.name, cluster: action.cluster },
      "deleting member",
    );
    await hub.deleteMember({ namespace, name: action.name }, signal);
  }

  #clustersOf({ metadata: { namespace = "" } }: Fleet): readonly ClusterFacts[] {
    const all = this.#options.hub.clusters();
    return [
      ...all.filter((cluster) => cluster.namespace === namespace),
      managementFacts(namespace),
    ];
  }

  async #report(
    fleet: Fleet,
    {
      problem,
      resolved,
      leaving,
    }: {
      readonly problem: Problem | undefined;
      readonly resolved: Resolved | undefined;
      readonly leaving: readonly string[];
    },
    signal: AbortSignal,
  ): Promise<void> {
    const { hub, clock, log, tenancy } = this.#options;
    // A tenant is not told which labels the Clusters of others carry.
    const isPlatform = tenancy.platformNamespaces.has(fleet.metadata.namespace ?? "");
    const others = isPlatform
      ? hub.clusters().filter((c) => c.namespace !== fleet.metadata.namespace)
      : [];
    const outcome: FleetOutcome = {
      clusters: this.#clustersOf(fleet),
      members: hub.membersOf(nameOf(fleet)),
      revision: resolved?.revision ?? fleet.status?.updateRevision,
      problem,
      resolvedTime: resolved?.time,
      resolvedGeneration: resolved?.generation,
      left: recentlyLeft(fleet, clock.now(), leaving),
      elsewhere: others.filter((cluster) => isSelected(fleet, cluster)).length,
    };
    await report(hub, fleet, fleetStatus(fleet, outcome, timestamp(clock)), { clock, log, signal });
  }

  /** Deletes old revisions that no member is pinned to; looks for them when that, or the resolved one, has changed. */
  async #collectRevisions(fleet: Fleet, resolved: Resolved, signal: AbortSignal): Promise<void> {
    const { hub } = this.#options;
    const members: readonly FleetMember[] = hub.membersOf(nameOf(fleet));
    const inUse = new Set([
      resolved.revision,
      ...members.flatMap((m) => [m.spec.revision, m.status?.currentRevision ?? ""]),
    ]);
    const asOf = [...inUse].sort().join();
    if (this.#collected.get(resolved) === asOf) return;
    const revisions = await hub.revisionsOf(nameOf(fleet), signal);
    const unused = revisions
      .filter(
        (r) =>
          !inUse.has(r.metadata.name) &&
          (r.metadata.ownerReferences ?? []).some((o) => o["uid"] === fleet.metadata.uid),
      )
      .sort((a, b) =>
        (a.metadata.creationTimestamp ?? "") < (b.metadata.creationTimestamp ?? "") ? 1 : -1,
      );
    for (const revision of unused.slice(revisionsKept)) await hub.deleteRevision(revision, signal);
    this.#collected.set(resolved, asOf);
  }

  #untilNextMs(fleet: Fleet, resolved: Resolved | undefined): number {
    const { clock } = this.#options;
    const intervalMs = durationMs(fleet.spec.interval);
    const dueMs =
      resolved === undefined ? intervalMs : resolved.atMs + intervalMs - clock.monotonicMs();
    const again = Math.max(1_000, dueMs * (1 + 0.05 * clock.random()));
    return Math.min(again, this.#untilReturnMs(fleet));
  }

  /** Until the first withdrawal of a cluster has run out. */
  #untilReturnMs(fleet: Fleet): number {
    const now = this.#options.clock.now();
    const waiting = this.#clustersOf(fleet).filter((cluster) => isWithdrawn(cluster, now));
    const ends = waiting.map(({ withdrawnUntil }) => momentOf(withdrawnUntil));
    return Math.max(1, Math.min(...ends.map((end) => end - now.getTime())));
  }
}

/** Whether the Fleet lives on another hub now: nothing is withdrawn, and nothing holds it here. */
function isMovedAway({ metadata }: Fleet): boolean {
  return metadata.annotations?.[annotations.deleteForMove] !== undefined;
}

type Acted = { readonly leaving: readonly string[]; readonly held: Problem | undefined };

/** What makes a Fleet resolve its sources again before the interval is over. */
function triggerOf({ metadata }: Fleet): string {
  const requestedAt = metadata.annotations?.[annotations.requestedAt] ?? "";
  return `${metadata.uid ?? ""}/${metadata.generation ?? 0}/${requestedAt}`;
}

function nameOf({ metadata }: Fleet): Named {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}
