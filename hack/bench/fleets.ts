import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { fluxVersion } from "../flux-manifests.ts";
import { labNamespace } from "../lab/lab.ts";
import { resources } from "../lab/resources.ts";
import { until } from "../lab/wait.ts";
import { runLabel, type Run } from "./ground.ts";

const readyMs = 300_000;
const goneMs = 120_000;

/** A Fleet that brings Flux to the clusters of the run whose name it has. */
export function fluxFleet(registry: string, run: string): object {
  const artifact = { url: `oci://${registry}/flux-manifests`, insecure: true };
  return fleetObject(run, run, [{ name: "flux", flux: { version: fluxVersion, artifact } }]);
}

/** A Fleet of any layers for the clusters of a run. */
export function fleetObject(name: string, run: string, layers: readonly object[]): object {
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { namespace: labNamespace, name },
    spec: { clusterSelector: { matchLabels: { [runLabel]: run } }, layers },
  };
}

/** Waits until all members of a Fleet are Ready and as many as the run has clusters. */
export async function membersReady(hub: KubeClient, fleet: string, run: Run): Promise<void> {
  const isReady = ({ status }: FleetMember) =>
    conditionOf(status?.conditions, "Ready")?.status === "True";
  const allReady = async () => {
    const ready = (await membersOf(hub, fleet)).filter(isReady);
    return ready.length === run.clusters.length;
  };
  await until(allReady, {
    deadlineMs: readyMs,
    what: `the members of ${fleet} to be Ready`,
    everyMs: 200,
  });
}

/** The members of a Fleet. */
export async function membersOf(hub: KubeClient, fleet: string): Promise<readonly FleetMember[]> {
  const { items } = await hub.list(resources.fleetMember, { namespace: labNamespace });
  const all = items as unknown as readonly FleetMember[];
  return all.filter(({ spec }) => spec.fleetRef.name === fleet);
}

/** Deletes a Fleet whose clusters are gone already, and waits until it is gone too. */
export async function removeFleet(hub: KubeClient, name: string): Promise<void> {
  const place = { namespace: labNamespace, name };
  const live = await hub.get(resources.fleet, place);
  if (live === undefined) return;
  await hub.delete(resources.fleet, live);
  await until(async () => (await hub.get(resources.fleet, place)) === undefined, {
    deadlineMs: goneMs,
    what: `Fleet ${name} to be gone`,
    everyMs: 100,
  });
}
