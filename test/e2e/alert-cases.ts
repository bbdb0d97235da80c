// What makes each alert fire, and when; and what looks like it and must not.
import assert from "node:assert/strict";
import { selectorOf, type Rule, type Series } from "../harness/prometheus.ts";

/** A healthy hub: a series of its scrape, with labels that it has changed, and other values in promtool's notation. */
type Healthy = (name: string, values: string, labels?: Readonly<Record<string, string>>) => Series;

type Case = {
  readonly alert: string;
  readonly what: string;
  /** What is other than on a healthy hub, from the first minute on. */
  readonly broken: (like: Healthy) => readonly Series[];
  /** The minute at which it fires, and not one before; undefined: never. */
  readonly firesAt: number | undefined;
  /** Which labels of the first series it has; all by default. */
  readonly by?: readonly string[];
  /** `$value`. */
  readonly value?: string;
};

/** For as long as any case is looked at. */
const minutes = 240;

const always = (value: number | "_") => `${value}x${minutes}`;
const growing = (each: number) => `0+${each}x${minutes}`;

/** Clusters of this hub without a connection, and those with one. */
const connections = (like: Healthy, without: number, all: number) =>
  Array.from({ length: all }, (_, n) =>
    like("capitan_cluster_connected", always(n < without ? 0 : 1), { cluster: `many-${n}` }),
  );

const cases: readonly Case[] = [
  {
    alert: "CapitanNoLeader",
    what: "nobody leads",
    broken: (like) => [like("capitan_leader", always(0))],
    firesAt: 2,
    by: [],
  },
  {
    alert: "CapitanNoLeader",
    what: "nobody is there",
    broken: (like) => [like("capitan_leader", always("_"))],
    firesAt: 2,
    by: [],
  },
  {
    alert: "CapitanNoLeader",
    what: "one leads and one waits",
    broken: (like) => [like("capitan_leader", always(0), { instance: "10.0.0.9:8080" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanTwoLeaders",
    what: "two lead",
    broken: (like) => [like("capitan_leader", always(1), { instance: "10.0.0.9:8080" })],
    firesAt: 1,
    by: [],
  },
  {
    alert: "CapitanClusterNotReady",
    what: "a cluster is not ready",
    broken: (like) => [like("capitan_cluster_ready", always(0))],
    firesAt: 15,
  },
  {
    alert: "CapitanClusterNotReady",
    what: "a cluster is not ready for ten minutes",
    broken: (like) => [like("capitan_cluster_ready", "0x10 1x200")],
    firesAt: undefined,
  },
  {
    alert: "CapitanClusterDisconnected",
    what: "a cluster has no connection",
    broken: (like) => [like("capitan_cluster_connected", always(0))],
    firesAt: 10,
  },
  {
    alert: "CapitanManyClustersDisconnected",
    what: "four of nine",
    broken: (like) => connections(like, 4, 9),
    firesAt: 5,
    by: [],
  },
  {
    alert: "CapitanManyClustersDisconnected",
    what: "three of four",
    broken: (like) => connections(like, 3, 4),
    firesAt: undefined,
  },
  {
    alert: "CapitanManyClustersDisconnected",
    what: "four of thirty",
    broken: (like) => connections(like, 4, 30),
    firesAt: undefined,
  },
  {
    alert: "CapitanFleetNotReady",
    what: "a Fleet is not ready",
    broken: (like) => [like("capitan_fleet_ready", always(0))],
    firesAt: 30,
  },
  {
    alert: "CapitanApprovalWaiting",
    what: "two members wait for an approval",
    broken: (like) => [like("capitan_approvals_waiting", always(2), { kind: "FleetMember" })],
    firesAt: 10,
    value: "2",
  },
  {
    alert: "CapitanKubeconfigExpires",
    what: "a kubeconfig ends in six days",
    // Time begins at 0.
    broken: (like) => [like("capitan_kubeconfig_expiry_timestamp_seconds", always(6 * 86_400))],
    firesAt: 60,
  },
  {
    alert: "CapitanKubeconfigExpires",
    what: "a kubeconfig ends in eight days",
    broken: (like) => [like("capitan_kubeconfig_expiry_timestamp_seconds", always(8 * 86_400))],
    firesAt: undefined,
  },
  {
    alert: "CapitanRegistryFailing",
    what: "a registry cannot be reached",
    broken: (like) => [
      like("capitan_registry_operations_total", growing(1), { result: "RegistryUnreachable" }),
    ],
    firesAt: 16,
    by: ["result"],
  },
  {
    alert: "CapitanRegistryFailing",
    what: "a registry answers",
    broken: (like) => [
      like("capitan_registry_operations_total", growing(1), { result: "success" }),
    ],
    firesAt: undefined,
  },
  {
    alert: "CapitanUnexpectedErrors",
    what: "looks end in errors",
    broken: (like) => [like("capitan_reconcile_total", growing(1), { result: "error" })],
    firesAt: 11,
    by: ["controller"],
  },
  {
    alert: "CapitanUnexpectedErrors",
    what: "looks are tried again",
    broken: (like) => [like("capitan_reconcile_total", growing(1), { result: "retry" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanQueueStuck",
    what: "one look goes on and on",
    broken: (like) => [like("capitan_queue_longest_running_seconds", always(301))],
    firesAt: 1,
    by: ["controller"],
  },
  {
    alert: "CapitanQueueLong",
    what: "fifty-one wait",
    broken: (like) => [like("capitan_queue_waiting", always(51))],
    firesAt: 10,
    by: ["controller"],
  },
  {
    alert: "CapitanRepairsWithoutEnd",
    what: "two objects a minute are put back",
    broken: (like) => [like("capitan_repaired_objects_total", growing(2))],
    firesAt: 111,
    by: [],
  },
  {
    alert: "CapitanRepairsWithoutEnd",
    what: "one object a minute is put back",
    broken: (like) => [like("capitan_repaired_objects_total", growing(1))],
    firesAt: undefined,
  },
  {
    alert: "CapitanHubWatchFailing",
    what: "a watch fails once a minute",
    broken: (like) => [like("capitan_hub_watch_failures_total", growing(1))],
    firesAt: 16,
    by: ["kind"],
  },
  {
    alert: "CapitanNotificationsLost",
    what: "one event is lost",
    broken: (like) => [like("capitan_notifications_total", "0x5 1x200", { result: "failed" })],
    firesAt: 6,
    by: ["result"],
  },
  {
    alert: "CapitanNotificationsLost",
    what: "events were told already",
    broken: (like) => [like("capitan_notifications_total", growing(1), { result: "refused" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanReceiverNotReady",
    what: "a Receiver does not listen",
    broken: (like) => [like("capitan_receiver_ready", always(0))],
    firesAt: 15,
  },
  {
    alert: "CapitanReceiverFailing",
    what: "Fleets cannot be asked",
    broken: (like) => [like("capitan_receiver_requests_total", growing(1), { result: "failed" })],
    firesAt: 16,
    by: [],
  },
  {
    alert: "CapitanReceiverFailing",
    what: "Fleets are asked",
    broken: (like) => [like("capitan_receiver_requests_total", growing(1), { result: "written" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanRotationStands",
    what: "two clusters of a rotation stand",
    broken: (like) => [like("capitan_rotation_clusters", always(2), { state: "Stalled" })],
    firesAt: 15,
    by: ["namespace", "kind", "rotation"],
    value: "2",
  },
  {
    alert: "CapitanRotationStands",
    what: "two clusters of a rotation wait",
    broken: (like) => [like("capitan_rotation_clusters", always(2), { state: "Waiting" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanEventLoopLag",
    what: "the controller's event loop lags",
    broken: (like) => [like("nodejs_eventloop_lag_p99_seconds", always(0.6))],
    firesAt: 10,
  },
  {
    alert: "CapitanEventLoopLag",
    what: "somebody else's event loop lags",
    broken: (like) => [like("nodejs_eventloop_lag_p99_seconds", always(9), { job: "other" })],
    firesAt: undefined,
  },
  {
    alert: "CapitanMemory",
    what: "the controller uses a gigabyte",
    broken: (like) => [like("process_resident_memory_bytes", always(1e9))],
    firesAt: 15,
  },
  {
    alert: "CapitanMemory",
    what: "somebody else uses four gigabytes",
    broken: (like) => [like("process_resident_memory_bytes", always(4e9), { job: "other" })],
    firesAt: undefined,
  },
];

/** A series that is as one of the scrape, but for the values of these labels. */
const likeIn =
  (healthy: readonly Series[]): Healthy =>
  (name, values, labels = {}) => {
    const found = healthy.find((series) => series.name === name);
    assert.ok(found !== undefined, name);
    for (const label of Object.keys(labels)) assert.ok(label in found.labels, `${name} ${label}`);
    return { name, values, labels: { ...found.labels, ...labels } };
  };

/** The text of an annotation, as it is to be read. */
const filled = (text: string, labels: Readonly<Record<string, string>>, value: string) =>
  text
    .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => labels[label] ?? "NO LABEL")
    .replaceAll("{{ $value }}", value);

/** One case as promtool takes it: nothing a minute before, the alert with its texts at the minute. */
function unitTest(each: Case, rule: Rule, healthy: readonly Series[]): object {
  const { alert, what, firesAt, by, value = "" } = each;
  const broken = each.broken(likeIn(healthy));
  const replaced = new Set(broken.map(selectorOf));
  const asked = new Set(rule.expr.match(/\w+/g));
  const others = healthy.filter((s) => asked.has(s.name) && !replaced.has(selectorOf(s)));
  const kept = others.map((series) => ({ ...series, values: `${series.values}x${minutes}` }));
  const all = Object.entries(broken[0]?.labels ?? {});
  const labels = Object.fromEntries(
    all.filter(([label]) => by === undefined || by.includes(label)),
  );
  const annotations = Object.entries(rule.annotations).map(([name, text]) => [
    name,
    filled(text, labels, value),
  ]);
  const fired = {
    exp_labels: { ...labels, ...rule.labels },
    exp_annotations: Object.fromEntries(annotations) as object,
  };
  const at = (minute: number, exp_alerts: readonly object[]) => ({
    eval_time: `${minute}m`,
    alertname: alert,
    exp_alerts,
  });
  const everyFive = Array.from({ length: minutes / 5 }, (_, n) => at(5 * n, []));
  return {
    name: `${alert}: ${what}`,
    interval: "1m",
    input_series: [...kept, ...broken].map((series) => ({
      series: selectorOf(series),
      values: series.values,
    })),
    alert_rule_test:
      firesAt === undefined ? everyFive : [at(firesAt - 1, []), at(firesAt, [fired])],
  };
}

/** The tests of every alert for promtool: its cases, and that it is silent on a healthy hub. An alert without a case is an error. */
export function testsOf(rules: readonly Rule[], healthy: readonly Series[]): object {
  const firing = new Set(cases.filter((each) => each.firesAt !== undefined).map((c) => c.alert));
  assert.deepEqual(
    rules.map(({ alert }) => alert).filter((alert) => !firing.has(alert)),
    [],
    "alerts that no case makes fire",
  );
  const ruleOf = (name: string) => {
    const rule = rules.find(({ alert }) => alert === name);
    assert.ok(rule !== undefined, name);
    return rule;
  };
  const well = { what: "all is well", broken: () => [], firesAt: undefined };
  const quiet = rules.map(({ alert }) => ({ alert, ...well }));
  const tests = [...quiet, ...cases].map((each) => unitTest(each, ruleOf(each.alert), healthy));
  return { evaluation_interval: "1m", tests };
}
