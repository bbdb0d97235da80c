import type { Fleet, FleetMember } from "../api/index.ts";
import { isSelected, type ClusterFacts } from "./members.ts";

/**
 * Why nothing may be removed from a cluster yet: another Fleet that selects it has changed and it is
 * not known, or not written into its member, what it wants. Objects may be on their way to it.
 * Undefined when every other Fleet's wish is known.
 */
export function removalWaitsFor(
  cluster: ClusterFacts,
  own: { readonly namespace: string; readonly name: string },
  fleets: readonly Fleet[],
  members: readonly FleetMember[],
): string | undefined {
  const others = fleets.filter(
    ({ metadata }) => metadata.name !== own.name && metadata.namespace === own.namespace,
  );
  const unknown = others.find((fleet) => isSelected(fleet, cluster) && !isSettled(fleet, members));
  if (unknown === undefined) return undefined;
  const { namespace = "", name } = unknown.metadata;
  return `nothing is removed before Fleet ${namespace}/${name}, which selects this cluster too, is resolved: it may want the same objects`;
}

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
