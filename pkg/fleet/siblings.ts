import { conditionOf, type Condition, type Fleet, type FleetMember } from "../api/index.ts";
import { isManagement, type ClusterFacts } from "../cluster/index.ts";
import { isSelected } from "./members.ts";

/** A Fleet that could not be resolved for so long holds nobody up any more. */
const patienceMs = 3_600_000;

/**
 * Why nothing may be removed from a cluster yet: another Fleet that selects it has changed and it is
 * not known, or not written into its member, what it wants. Objects may be on their way to it.
 * Undefined when every other Fleet's wish is known, or has been unknown for more than an hour.
 */
export function removalWaitsFor(
  cluster: ClusterFacts,
  own: { readonly namespace: string; readonly name: string },
  { fleets, members, now }: Neighbours,
): string | undefined {
  // The hub itself is that of all Fleets that may deliver to it.
  const others = fleets.filter(({ metadata: { namespace, name } }) => {
    const isNear = namespace === own.namespace || isManagement(cluster);
    return isNear && !(name === own.name && namespace === own.namespace);
  });
  const unknown = others.find(
    (fleet) =>
      isSelected(fleet, cluster) && !isSettled(fleet, members) && !isLongBroken(fleet, now),
  );
  if (unknown === undefined) return undefined;
  const { namespace = "", name } = unknown.metadata;
  return `nothing is removed for an hour, or until Fleet ${namespace}/${name}, which selects this cluster too, is resolved, suspended or deleted: it may want the same objects`;
}

/** The same for members on the cluster whose layers cannot be made now, an artifact that cannot be pulled for instance. */
export function heldUpBy(unknown: readonly FleetMember[], now: Date): string | undefined {
  const fresh = unknown.find(({ status }) => !isOlder(status?.conditions, now));
  if (fresh === undefined) return undefined;
  const { namespace, name } = fresh.spec.fleetRef;
  return `nothing is removed for an hour, or until it is known what Fleet ${namespace}/${name} wants here: it may want the same objects`;
}

/** Whether it has been said for longer than the patience that something is wrong. */
function isOlder(conditions: readonly Condition[] | undefined, now: Date): boolean {
  const ready = conditionOf(conditions, "Ready");
  if (ready?.status !== "False") return false;
  return now.getTime() - Date.parse(ready.lastTransitionTime) > patienceMs;
}

type Neighbours = {
  readonly fleets: readonly Fleet[];
  readonly members: readonly FleetMember[];
  readonly now: Date;
};

function isSettled(fleet: Fleet, members: readonly FleetMember[]): boolean {
  const { metadata, spec, status } = fleet;
  if (spec.suspend) return true;
  if (status?.resolvedGeneration !== metadata.generation) return false;
  const member = members.find(
    (m) =>
      m.spec.fleetRef.name === metadata.name && m.spec.fleetRef.namespace === metadata.namespace,
  );
  return member !== undefined && member.spec.revision === status?.updateRevision;
}

function isLongBroken({ metadata, status }: Fleet, now: Date): boolean {
  if (status?.resolvedGeneration === metadata.generation) return false;
  return status?.observedGeneration === metadata.generation && isOlder(status?.conditions, now);
}
