/** The controller's HTTP endpoint: health, readiness, metrics. */
export { newMetrics, type ControllerMetrics } from "./metrics.ts";
export { serve, type Endpoint } from "./serve.ts";
