/** Clusters from templates: parameters, files, records, what an upgrade changes, what is wrong. No I/O. */
export { isClusterTemplate, readClusterTemplate, templateDigest } from "./read.ts";
export {
  completeParameters,
  missingParameters,
  parametersOf,
  parseParameter,
  problemsOf,
  versionParameter,
  type NamedParameter,
} from "./parameters.ts";
export { checkClusterName } from "./names.ts";
export { renderFiles, type Cluster, type ClusterIdentity } from "./render.ts";
export { planCreation, type Creation } from "./create.ts";
export { planUpgrade, recordOf, type FileChange } from "./upgrade.ts";
export { publicPart, type GeneratedFile } from "./seal.ts";
export { planRemoval, removedObjects, type ApprovedObject } from "./removal.ts";
export { configurationOf } from "./creation-rules.ts";
export { lintTemplate } from "./lint.ts";
export { unifiedDiff } from "./diff.ts";
