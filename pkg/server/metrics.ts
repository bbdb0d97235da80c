import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { metricSpecs, type MetricName, type NameOf } from "./catalogue.ts";

type Controller = "fleet" | "cluster" | "rotation" | "secretrotation";
/** One value of a gauge. */
export type Sample = {
  readonly name: MetricName;
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
};

/** The controller's metrics. Labels are bounded: see the catalogue. */
export type ControllerMetrics = {
  readonly reconciled: (controller: Controller, result: string, seconds: number) => void;
  readonly applied: (objects: number) => void;
  /** `seconds` from the event that told of the drift; undefined when none had. */
  readonly repaired: (objects: number, seconds: number | undefined) => void;
  readonly registryAsked: (operation: string, result: string) => void;
  /** With 0, the series is there before anything is counted. */
  readonly notified: (result: string, events?: number) => void;
  readonly watchFailed: (kind: string) => void;
  /** The Prometheus text, the gauges as they are now. */
  readonly scrape: () => Promise<{ readonly contentType: string; readonly text: string }>;
};

/** The receiver's metrics. */
export type ReceiverMetrics = Pick<ControllerMetrics, "watchFailed" | "scrape"> & {
  /** With the HTTP status of its answer. */
  readonly delivered: (status: number) => void;
  readonly requested: (result: "written" | "failed") => void;
};

/** Builds every metric that the controller serves, and Node's own. `gauges` is asked at each scrape. */
export function newMetrics(gauges: () => readonly Sample[]): ControllerMetrics {
  const { count, observe, scrape } = build((by) => by !== "receiver", gauges);
  return {
    reconciled: (controller, result, seconds) => {
      count("capitan_reconcile_total", { controller, result });
      observe("capitan_reconcile_duration_seconds", seconds, { controller });
    },
    applied: (objects) => count("capitan_applied_objects_total", {}, objects),
    repaired: (objects, seconds) => {
      count("capitan_repaired_objects_total", {}, objects);
      if (seconds !== undefined) observe("capitan_drift_repair_duration_seconds", seconds);
    },
    registryAsked: (operation, result) =>
      count("capitan_registry_operations_total", { operation, result }),
    notified: (result, events = 1) => count("capitan_notifications_total", { result }, events),
    watchFailed: (kind) => count("capitan_hub_watch_failures_total", { kind }),
    scrape,
  };
}

/** Builds every metric that the receiver serves, and Node's own. */
export function newReceiverMetrics(gauges: () => readonly Sample[]): ReceiverMetrics {
  const { count, scrape } = build((by) => by !== undefined, gauges);
  return {
    delivered: (status) => count("capitan_receiver_deliveries_total", { result: resultOf(status) }),
    requested: (result) => count("capitan_receiver_requests_total", { result }),
    watchFailed: (kind) => count("capitan_hub_watch_failures_total", { kind }),
    scrape,
  };
}

const results: Readonly<Record<number, string>> = {
  200: "accepted",
  401: "refused",
  404: "unknown",
  408: "too_slow",
  413: "too_long",
  503: "unavailable",
};

function resultOf(status: number): string {
  return results[status] ?? (status < 500 ? "unreadable" : "failed");
}

type By = (typeof metricSpecs)[MetricName]["by"];

function build(isServed: (by: By) => boolean, gauges: () => readonly Sample[]) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const all = new Map<string, Counter | Gauge | Histogram>();
  for (const name of Object.keys(metricSpecs) as MetricName[])
    if (isServed(metricSpecs[name].by)) all.set(name, newMetric(name, registry));
  return {
    count: (name: NameOf<"counter">, labels: Record<string, string> = {}, by = 1) =>
      (all.get(name) as Counter).inc(labels, by),
    observe: (name: NameOf<"histogram">, value: number, labels: Record<string, string> = {}) =>
      (all.get(name) as Histogram).observe(labels, value),
    scrape: async () => {
      setGauges(all, gauges());
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

function newMetric(name: MetricName, registry: Registry): Counter | Gauge | Histogram {
  const { type, labels, help, buckets } = metricSpecs[name];
  const options = { name, help, labelNames: [...labels], registers: [registry] };
  if (type === "counter") return new Counter(options);
  if (type === "gauge") return new Gauge(options);
  return new Histogram({ ...options, ...(buckets === undefined ? {} : { buckets: [...buckets] }) });
}

/** What is not among the samples any more goes: a deleted Cluster leaves nothing behind. */
function setGauges(
  all: ReadonlyMap<string, Counter | Gauge | Histogram>,
  samples: readonly Sample[],
): void {
  for (const metric of all.values()) {
    if (metric instanceof Gauge) metric.reset();
  }
  for (const { name, labels = {}, value } of samples) {
    const metric = all.get(name);
    // A number that is none comes from a status that somebody has spoilt.
    if (metric instanceof Gauge && Number.isFinite(value)) metric.set(labels, value);
  }
}
