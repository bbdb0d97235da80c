/** The controller's HTTP endpoint: health, readiness, metrics. */
export { metricSpecs, type MetricName } from "./catalogue.ts";
export { newMetrics, type ControllerMetrics, type Sample } from "./metrics.ts";
export { serve, type Endpoint } from "./serve.ts";
