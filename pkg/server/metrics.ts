import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

const seconds = [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60];

/** The controller's metrics. Labels are bounded: no names of objects, clusters or Fleets. */
export type ControllerMetrics = {
  readonly registry: Registry;
  readonly reconciled: (controller: "fleet" | "cluster", result: string, seconds: number) => void;
  readonly applied: (objects: number) => void;
  readonly repaired: (objects: number) => void;
};

export type Gauges = { readonly connectedClusters: () => number };

/** Builds the registry with every metric of the controller. */
export function newMetrics({ connectedClusters }: Gauges): ControllerMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const total = new Counter({
    name: "capitan_reconcile_total",
    help: "Passes by controller and result.",
    labelNames: ["controller", "result"],
    registers,
  });
  const duration = new Histogram({
    name: "capitan_reconcile_duration_seconds",
    help: "Duration of a pass.",
    labelNames: ["controller"],
    buckets: seconds,
    registers,
  });
  const applied = new Counter({
    name: "capitan_applied_objects_total",
    help: "Objects sent to workload clusters by server-side apply.",
    registers,
  });
  const repaired = new Counter({
    name: "capitan_repaired_objects_total",
    help: "Objects that were put back after somebody else had changed or deleted them.",
    registers,
  });
  registry.registerMetric(
    new Gauge({
      name: "capitan_connected_clusters",
      help: "Workload clusters with an open connection.",
      registers: [],
      collect() {
        this.set(connectedClusters());
      },
    }),
  );
  return {
    registry,
    reconciled: (controller, result, elapsed) => {
      total.inc({ controller, result });
      duration.observe({ controller }, elapsed);
    },
    applied: (objects) => applied.inc(objects),
    repaired: (objects) => repaired.inc(objects),
  };
}
