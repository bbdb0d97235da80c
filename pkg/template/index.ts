/** The language of templates: its grammar, its helpers, its checks, the values that it reads. No I/O. */
export {
  bareCluster,
  layerShape,
  openMap,
  type ClusterInput,
  type LayerContext,
  type Shape,
} from "./context.ts";
export { compileTemplate, renderTemplate, type Template } from "./template.ts";
export { isTemplatePath, renderedPaths, renderAll } from "./layer.ts";
export { renderLine, renderPath } from "./path.ts";
export { compileCondition, holds } from "./condition.ts";
export { mergeValues, parseValues } from "./values.ts";
export { limits } from "./limits.ts";
export { helpers } from "./helpers.ts";
