/** The HTTP endpoints of our processes: health, readiness, metrics; deliveries of strangers. */
export { metricSpecs, type MetricName } from "./catalogue.ts";
export {
  newMetrics,
  newReceiverMetrics,
  type ControllerMetrics,
  type ReceiverMetrics,
  type Sample,
} from "./metrics.ts";
export { serve, type Endpoint } from "./serve.ts";
export { serveHooks, type Answer, type Hooks, type Incoming, type Reader } from "./hooks.ts";
