import type { KeyRotation, SecretRotation } from "../../pkg/api/index.ts";
import { clusterKey, clusterNamed } from "../../pkg/cluster/index.ts";
import { overviewOf, type Overview } from "../../pkg/status/index.ts";
import type { MetricName, Sample } from "../../pkg/server/index.ts";
import type { Connections } from "../../pkg/workload/index.ts";
import type { Controllers } from "./wiring.ts";

export type GaugeFacts = {
  readonly version: string;
  readonly leading: boolean;
  readonly controllers: Controllers;
  readonly connections: Connections;
};

type Expiries = ReturnType<Connections["expiries"]>;

/** What the gauges show. Fleets and clusters are shown by the leader only, so that nothing is counted twice. */
export function gaugesOf(facts: GaugeFacts): readonly Sample[] {
  const { version, leading, controllers, connections } = facts;
  const expiries = connections.expiries();
  const own = [
    sample("capitan_build_info", 1, { version, node_version: process.version }),
    sample("capitan_leader", leading ? 1 : 0),
    sample("capitan_connected_clusters", expiries.size),
    ...queueGauges(controllers),
  ];
  if (!leading) return own;
  const overview = overviewOf(controllers.hub.fleets(), controllers.hub.members());
  return [
    ...own,
    ...fleetGauges(overview),
    ...clusterGauges(overview, expiries),
    ...keyGauges(overview, controllers),
    ...rotationGauges(controllers),
  ];
}

function queueGauges({ queues }: Controllers): readonly Sample[] {
  return queues().flatMap(({ controller, waiting, running, longestRunningMs }) => [
    sample("capitan_queue_waiting", waiting, { controller }),
    sample("capitan_queue_running", running, { controller }),
    sample("capitan_queue_longest_running_seconds", longestRunningMs / 1000, { controller }),
  ]);
}

function fleetGauges({ fleets, members, approvals }: Overview): readonly Sample[] {
  return [
    ...fleets.flatMap(({ namespace, name: fleet, ready, clusters }) => [
      sample("capitan_fleet_ready", ready ? 1 : 0, { namespace, fleet }),
      ...(["matched", "ready", "updating", "failed"] as const).map((state) =>
        sample("capitan_fleet_clusters", clusters[state], { namespace, fleet, state }),
      ),
    ]),
    ...[...members].map(([reason, n]) => sample("capitan_members", n, { reason })),
    ...Object.entries(approvals).map(([kind, n]) =>
      sample("capitan_approvals_waiting", n, { kind }),
    ),
  ];
}

/** How old the keys are of clusters that have members: keys outlive clusters. */
function keyGauges({ clusters }: Overview, { hub }: Controllers): readonly Sample[] {
  return hub.inputs
    .ageKeys()
    .filter(({ namespace, cluster }) => clusters.has(clusterKey({ namespace, name: cluster })))
    .map(({ namespace, cluster, createdMs }) =>
      sample("capitan_age_key_created_timestamp_seconds", createdMs / 1000, { namespace, cluster }),
    );
}

/** How far the rotations are that go on. */
function rotationGauges({ hub: { rotations } }: Controllers): readonly Sample[] {
  const keys = rotations.openKeyRotations();
  const clusters = [...keys, ...rotations.openSecretRotations()].flatMap((rotation) =>
    (["Working", "Waiting", "Stalled", "Done", "Gone"] as const).map((state) => {
      const found = rotation.status?.clusters?.filter((each) => each.state === state) ?? [];
      return sample("capitan_rotation_clusters", found.length, { ...labelsOf(rotation), state });
    }),
  );
  const files = keys.flatMap((rotation) => {
    const left = rotation.status?.filesLeft;
    return left === undefined
      ? []
      : [sample("capitan_rotation_files_left", left, labelsOf(rotation))];
  });
  return [...clusters, ...files];
}

/** A rotation of keys and one of values may have the same name. */
const labelsOf = ({
  kind,
  metadata: { namespace = "", name: rotation },
}: Pick<KeyRotation | SecretRotation, "kind" | "metadata">) => ({ namespace, kind, rotation });

function clusterGauges({ clusters }: Overview, expiries: Expiries): readonly Sample[] {
  return [...clusters].flatMap(([key, ready]) => {
    const { namespace, name: cluster } = clusterNamed(key);
    const labels = { namespace, cluster };
    const expiry = expiries.get(key);
    return [
      sample("capitan_cluster_ready", ready ? 1 : 0, labels),
      sample("capitan_cluster_connected", expiries.has(key) ? 1 : 0, labels),
      ...(expiry === undefined
        ? []
        : [sample("capitan_kubeconfig_expiry_timestamp_seconds", expiry.getTime() / 1000, labels)]),
    ];
  });
}

function sample(name: MetricName, value: number, labels: Record<string, string> = {}): Sample {
  return { name, value, labels };
}
