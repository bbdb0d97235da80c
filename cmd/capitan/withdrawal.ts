import { conditionOf, hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import type { Cluster } from "../../pkg/clustertemplate/index.ts";
import { clusterKey, clusterOf } from "../../pkg/cluster/index.ts";
import { CapitanError, isCapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { approvalAskedFor } from "./approve.ts";
import { membersNamed } from "./member.ts";
import { waitFor } from "./wait.ts";

/** Whoever dies here leaves the annotation behind: then the Fleets come back so long after the deadline. */
const graceMs = 60_000;
/** The layers stay off so long after the commit; the Cluster is gone by then. */
const keptOffMs = 3_600_000;

/**
 * Takes the layers of all Fleets off a cluster, then does `next`. When the time is up, or `next` fails,
 * or somebody interrupts, the Fleets come back. Throws LayersLeft, NotFound, and what `next` throws.
 */
export async function withdrawn(
  hub: KubeClient,
  cluster: Cluster,
  timeoutMs: number,
  next: () => Promise<void>,
): Promise<void> {
  const { namespace, name } = cluster;
  if ((await hub.get(clusterResource, cluster, { metadataOnly: true })) === undefined)
    throw new CapitanError("NotFound", `the hub has no Cluster ${namespace}/${name}`);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    await annotate(hub, cluster, timeoutMs + graceMs);
    await allGone(hub, cluster, timeoutMs, interrupted.signal);
    await annotate(hub, cluster, keptOffMs);
    await next();
  } catch (error) {
    await annotate(hub, cluster, undefined);
    throw error;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

/** Says on the Cluster until when Fleets are to be off it; undefined takes it back. */
async function annotate(hub: KubeClient, cluster: Cluster, ms: number | undefined): Promise<void> {
  const until =
    ms === undefined ? null : new Date(Date.now() + ms).toISOString().replace(/\.\d+/, "");
  const patch = { metadata: { annotations: { [annotations.withdraw]: until } } };
  await hub.mergePatch(clusterResource, cluster, patch);
}

/** Waits until no Fleet has anything on the cluster. What members ask for on the way was agreed to. */
async function allGone(
  hub: KubeClient,
  cluster: Cluster,
  timeoutMs: number,
  interrupted: AbortSignal,
): Promise<void> {
  const look = async () => {
    if (interrupted.aborted)
      throw new CapitanError("LayersLeft", "interrupted: the Fleets come back");
    const members = (await membersOn(hub, cluster)).filter((member) => !isOff(member));
    for (const member of members) await approve(hub, member);
    return members.length === 0
      ? { done: undefined }
      : { waitsFor: members.map(standingOf).join("; ") };
  };
  try {
    await waitFor("the layers to go", `${Math.max(1, Math.ceil(timeoutMs / 1_000))}s`, look);
  } catch (error) {
    if (!isCapitanError(error) || error.code !== "HealthTimeout") throw error;
    const message = `${error.message}; the Fleets come back to cluster ${cluster.name}`;
    throw new CapitanError("LayersLeft", message, { cause: error });
  }
}

async function membersOn(hub: KubeClient, cluster: Cluster): Promise<readonly FleetMember[]> {
  const members = (await membersNamed(hub, cluster)) as unknown as readonly FleetMember[];
  return members.filter((member) => clusterKey(clusterOf(member)) === clusterKey(cluster));
}

/** Whether the member has reported that all that it had brought has left. */
function isOff({ metadata, status }: FleetMember): boolean {
  const ready = conditionOf(status?.conditions, "Ready");
  return ready?.reason === "Removed" && ready.observedGeneration === metadata.generation;
}

/** Only what is asked for while it is being withdrawn. */
async function approve(hub: KubeClient, member: FleetMember): Promise<void> {
  const asked = member.spec.state === "Removed" ? approvalAskedFor(member) : undefined;
  const { annotations: given = {} } = member.metadata;
  if (asked === undefined || given[annotations.approveRemoval] === asked) return;
  const patch = { metadata: { annotations: { [annotations.approveRemoval]: asked } } };
  await hub.mergePatch(hubResources.fleetMember, member.metadata, patch);
}

function standingOf({ spec, status }: FleetMember): string {
  const { reason = "", message = "" } = conditionOf(status?.conditions, "Ready") ?? {};
  const objects = `${status?.objects ?? 0} objects left`;
  return `Fleet ${spec.fleetRef.name}: ${objects}${reason === "" ? "" : ` (${reason}: ${message})`}`;
}
