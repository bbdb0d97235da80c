import { conditionOf, hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import type { Cluster } from "../../pkg/clustertemplate/index.ts";
import { clusterKey, clusterOf } from "../../pkg/cluster/index.ts";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { ApiError, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { approvalAskedFor } from "./approval.ts";
import { hubErrorOf } from "./hub.ts";
import { Interruption } from "./interruption.ts";
import { membersNamed } from "./member.ts";
import { progress } from "./progress.ts";
import { waitFor } from "./wait.ts";

/** Whoever dies here leaves the annotation behind: then the Fleets come back so long after the deadline. */
const graceMs = 60_000;
/** The layers stay off so long after the commit; the Cluster is gone by then. */
const keptOffMs = 3_600_000;
/** How long a push may go on after somebody has interrupted. */
const patienceMs = 10_000;
/** How long the remote may take to say what it has. */
const lookMs = 30_000;

/** A push that is made while the layers are off. */
export type Push = {
  /** Until this fires: then it is given up. */
  readonly push: (signal: AbortSignal) => Promise<void>;
  /** Whether the remote has by now what was to be pushed. */
  readonly isPushed: (signal: AbortSignal) => Promise<boolean>;
};

/**
 * Takes the layers of all Fleets off a cluster, then pushes. When the time is up, or somebody
 * interrupts, or the remote does not have what was to be pushed, the Fleets come back; a push of which
 * that is not known leaves them off, and says so. Throws LayersLeft, NotFound, and what pushing throws.
 */
export async function withdrawn(
  hub: KubeClient,
  cluster: Cluster,
  timeoutMs: number,
  push: Push,
): Promise<void> {
  const { namespace, name } = cluster;
  if ((await hub.get(clusterResource, cluster, { metadataOnly: true })) === undefined)
    throw new CapitanError("NotFound", `the hub has no Cluster ${namespace}/${name}`);
  const interruption = new Interruption();
  try {
    await layersOff(hub, cluster, timeoutMs, interruption.signal);
    await pushOrReturn(hub, cluster, push, interruption);
  } finally {
    interruption.end();
  }
}

async function layersOff(
  hub: KubeClient,
  cluster: Cluster,
  timeoutMs: number,
  interrupted: AbortSignal,
): Promise<void> {
  try {
    await annotate(hub, cluster, timeoutMs + graceMs);
    await allGone(hub, cluster, timeoutMs, interrupted);
    await annotate(hub, cluster, keptOffMs);
    refuseInterrupted(interrupted);
  } catch (error) {
    await takeBack(hub, cluster, error);
    throw error;
  }
}

function refuseInterrupted(interrupted: AbortSignal): void {
  if (interrupted.aborted)
    throw new CapitanError(
      "LayersLeft",
      "interrupted: nothing was committed, and the Fleets come back",
    );
}

/** A push that failed, or was interrupted, may have arrived all the same: what the remote has decides. */
async function pushOrReturn(
  hub: KubeClient,
  cluster: Cluster,
  { push, isPushed }: Push,
  { signal }: Interruption,
): Promise<void> {
  const { name } = cluster;
  const patience = patienceAfter(signal);
  const failure = await push(patience.signal).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  patience.end();
  if (failure === undefined) {
    if (signal.aborted)
      process.stderr.write(
        `interrupted when the commit was pushed already: cluster ${name} goes\n`,
      );
    return;
  }
  const { error } = failure;
  const seen = await isPushed(AbortSignal.timeout(lookMs)).catch((unseen: unknown) => ({ unseen }));
  if (seen === true)
    throw saying(
      error,
      `the commit is there all the same: cluster ${name} goes, and its Fleets stay off it`,
    );
  // What was cut off on its way may arrive later than we look.
  if (seen !== false || patience.signal.aborted) {
    const why = seen === false ? "not yet, but it was cut off on its way" : messageOf(seen.unseen);
    throw saying(
      error,
      `whether the commit is there is not known (${why}), so the Fleets stay off cluster ${name} for up to an hour; if its files are still in the repository, call them back: ${backBy(cluster)}`,
    );
  }
  await takeBack(hub, cluster, error);
  const state = `the remote does not have the commit, and the Fleets come back to cluster ${name}`;
  if (!signal.aborted) throw saying(error, state);
  throw new CapitanError("LayersLeft", `interrupted: ${state}`, { cause: error });
}

/** A push in flight is given so long to end after an interruption: cut off, nobody would know what came of it. */
function patienceAfter(interrupted: AbortSignal): {
  readonly signal: AbortSignal;
  readonly end: () => void;
} {
  const given = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const hear = () => {
    progress(`interrupted: the push is given ${patienceMs / 1_000} s to end`);
    timer = setTimeout(() => given.abort(), patienceMs);
  };
  interrupted.addEventListener("abort", hear, { once: true });
  const end = () => {
    clearTimeout(timer);
    interrupted.removeEventListener("abort", hear);
  };
  return { signal: given.signal, end };
}

/** The same error, with what became of the cluster. */
function saying(error: unknown, more: string): Error {
  const message = `${messageOf(error)}; ${more}`;
  const options = { cause: error };
  if (error instanceof ApiError) {
    const told = hubErrorOf(error, message);
    if (told !== error) return told;
  }
  return isCapitanError(error)
    ? new CapitanError(error.code, message, options)
    : new Error(message, options);
}

/** Has the Fleets come back after an error. Throws that error, with what to do, when the hub does not let us. */
async function takeBack(hub: KubeClient, cluster: Cluster, error: unknown): Promise<void> {
  try {
    await annotate(hub, cluster, undefined);
  } catch (refused) {
    const why = `the Fleets could not be called back to cluster ${cluster.name} (${messageOf(refused)})`;
    throw saying(error, `${why}; do it by: ${backBy(cluster)}`);
  }
}

const backBy = ({ namespace, name }: Cluster) =>
  `kubectl annotate ${clusterResource.plural}.${clusterResource.group} -n ${namespace} ${name} ${annotations.withdraw}-`;

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
    refuseInterrupted(interrupted);
    const members = (await membersOn(hub, cluster)).filter((member) => !isOff(member));
    for (const member of members) await approve(hub, member);
    return members.length === 0
      ? { done: undefined }
      : { waitsFor: members.map(standingOf).join("; ") };
  };
  try {
    const timeout = `${Math.max(1, Math.ceil(timeoutMs / 1_000))}s`;
    await waitFor("the layers to go", timeout, look, interrupted);
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
