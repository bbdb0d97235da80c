type Spec = {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  /** What it counts or shows: one sentence. */
  readonly help: string;
  /** What an operator does about it. */
  readonly advice: string;
  readonly buckets?: readonly number[];
  /** Which process serves it. Default: the controller. */
  readonly by?: "receiver" | "both";
};

const seconds = [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 180];
const repairSeconds = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30];

/**
 * Every metric of our own, by name. Names of Fleets and Clusters are labels of gauges only, which are
 * made anew at each scrape: there are as many as there are objects, and they go with them.
 */
const catalogue = {
  capitan_build_info: {
    type: "gauge",
    labels: ["version", "node_version"],
    help: "Always 1; the versions of Capitan and of Node.",
    advice: "Two versions for more than a few minutes are a rollout that hangs.",
    by: "both",
  },
  capitan_leader: {
    type: "gauge",
    labels: [],
    help: "1 in the process that holds the Lease, 0 in those that wait.",
    advice:
      "The sum must be 1. At 0, look at the pods and at Lease capitan-system/capitan-controller.",
  },
  capitan_age_key_created_timestamp_seconds: {
    type: "gauge",
    labels: ["namespace", "cluster"],
    help: "When the age key that a cluster uses was made. From the leader.",
    advice: "When it is older than your rules allow: capitan rotate keys.",
  },
  capitan_rotation_clusters: {
    type: "gauge",
    labels: ["namespace", "kind", "rotation", "state"],
    help: "Clusters of a KeyRotation or SecretRotation that is not complete, by state: Working, Waiting, Stalled, Done, Gone. From the leader.",
    advice: "Stalled, or Waiting for hours: capitan rotate status says for what.",
  },
  capitan_rotation_files_left: {
    type: "gauge",
    labels: ["namespace", "kind", "rotation"],
    help: "Files at the tip of the branch that an ending key of a KeyRotation still opens. From the leader.",
    advice: "When it does not fall: capitan rotate status says what is waited for.",
  },
  capitan_reconcile_total: {
    type: "counter",
    labels: ["controller", "result"],
    help: "Looks at a Fleet or a cluster, by result: done, retry (tried again after a pause), error (unexpected).",
    advice: "Any error is a bug: the log has it, with field err.",
  },
  capitan_reconcile_duration_seconds: {
    type: "histogram",
    labels: ["controller"],
    help: "How long one look at a Fleet or a cluster took.",
    advice: "When it grows for all clusters, give more CPU; for one, look at that cluster.",
    buckets: seconds,
  },
  capitan_queue_waiting: {
    type: "gauge",
    labels: ["controller"],
    help: "Fleets or clusters that are due and wait for a worker.",
    advice: "Above 0 for minutes: raise --concurrency, or see which clusters are slow.",
  },
  capitan_queue_running: {
    type: "gauge",
    labels: ["controller"],
    help: "Fleets or clusters that are being looked at.",
    advice: "At --concurrency for minutes: as above.",
  },
  capitan_queue_longest_running_seconds: {
    type: "gauge",
    labels: ["controller"],
    help: "How long the oldest look that has not ended has been going on.",
    advice:
      "A look at a cluster ends after 3 minutes; after 15 minutes /healthz fails and the pod is restarted.",
  },
  capitan_hub_watch_failures_total: {
    type: "counter",
    labels: ["kind"],
    help: "Lists and watches on the management cluster that failed, by kind.",
    advice:
      "When it keeps growing, the log says why; most often a missing right: capitan install again.",
    by: "both",
  },
  capitan_connected_clusters: {
    type: "gauge",
    labels: [],
    help: "Workload clusters with an open connection.",
    advice: "Compare it with the number of clusters that have members.",
  },
  capitan_cluster_connected: {
    type: "gauge",
    labels: ["namespace", "cluster"],
    help: "1 while there is a connection to the cluster, else 0; from the leader, for clusters with members.",
    advice: "capitan describe member CLUSTER says what is in the way.",
  },
  capitan_cluster_ready: {
    type: "gauge",
    labels: ["namespace", "cluster"],
    help: "1 when all members of the cluster are Ready at their newest spec, else 0; from the leader.",
    advice: "capitan describe member CLUSTER names the one cause and what to do.",
  },
  capitan_kubeconfig_expiry_timestamp_seconds: {
    type: "gauge",
    labels: ["namespace", "cluster"],
    help: "When the client certificate in the kubeconfig of a connected cluster ends, as Unix time; none for tokens.",
    advice: "Let the control plane provider renew the Secret <cluster>-kubeconfig.",
  },
  capitan_fleet_ready: {
    type: "gauge",
    labels: ["namespace", "fleet"],
    help: "1 when the Fleet is Ready at its newest spec, else 0; from the leader.",
    advice: "capitan describe fleet NAME.",
  },
  capitan_fleet_clusters: {
    type: "gauge",
    labels: ["namespace", "fleet", "state"],
    help: "Clusters of a Fleet by state: matched, ready, updating, failed; from the leader.",
    advice: "capitan describe fleet NAME lists those that are not ready.",
  },
  capitan_members: {
    type: "gauge",
    labels: ["reason"],
    help: "FleetMembers by the reason of their Ready condition; from the leader.",
    advice: "docs/errors.md says of each reason what to do.",
  },
  capitan_approvals_waiting: {
    type: "gauge",
    labels: ["kind"],
    help: "Fleets and FleetMembers that wait for somebody to approve a removal; from the leader.",
    advice: "capitan describe prints the annotation that approves exactly this removal.",
  },
  capitan_applied_objects_total: {
    type: "counter",
    labels: [],
    help: "Objects sent to workload clusters by server-side apply.",
    advice: "A steady rate while nobody releases anything is a fight or a bug: see FieldConflict.",
  },
  capitan_repaired_objects_total: {
    type: "counter",
    labels: [],
    help: "Objects that were put back after somebody else had changed or deleted them.",
    advice: "Find out who writes there: the Event and capitan describe member name the manager.",
  },
  capitan_drift_repair_duration_seconds: {
    type: "histogram",
    labels: [],
    help: "From the watch event of somebody else's write to the end of the repair.",
    advice: "p99 above a second: too little CPU, or a slow API server of a workload cluster.",
    buckets: repairSeconds,
  },
  capitan_registry_operations_total: {
    type: "counter",
    labels: ["operation", "result"],
    help: "What OCI registries were asked: resolve, tags, pull; result is success or the error code. Pulls from the cache count.",
    advice: "docs/errors.md says of each code what to do; clusters go on with what they have.",
  },
  capitan_notifications_total: {
    type: "counter",
    labels: ["result"],
    help: "Events for --events-addr: sent, refused (the receiver did not want it), failed (not delivered in time), dropped (too many waited).",
    advice: "Look at notification-controller, at the NetworkPolicy and at the address.",
  },
  capitan_receiver_ready: {
    type: "gauge",
    labels: ["namespace", "receiver"],
    help: "1 when the Receiver listens or is suspended, else 0.",
    advice: "capitan get receivers says why; polling goes on all the while.",
    by: "receiver",
  },
  capitan_receiver_deliveries_total: {
    type: "counter",
    labels: ["result"],
    help: "Deliveries by what became of them: accepted, refused (wrong token or signature), unknown (no such path), unreadable, too_long, too_slow, unavailable (suspended, or just starting), failed.",
    advice:
      "refused: the provider and the Secret hold different tokens, or somebody tries. unknown: the token changed, and the provider still posts to the old path.",
    by: "receiver",
  },
  capitan_receiver_requests_total: {
    type: "counter",
    labels: ["result"],
    help: "Fleets that were asked to look at their sources now: written or failed; one a second for each Fleet at most.",
    advice: "failed: the log says why; most often a missing right: capitan install again.",
    by: "receiver",
  },
} as const satisfies Readonly<Record<string, Spec>>;

export type MetricName = keyof typeof catalogue;
/** The names of one type. */
export type NameOf<T extends Spec["type"]> = {
  [K in MetricName]: (typeof catalogue)[K]["type"] extends T ? K : never;
}[MetricName];

/** The same, for whoever lists them. */
export const metricSpecs: Readonly<Record<MetricName, Spec>> = catalogue;
