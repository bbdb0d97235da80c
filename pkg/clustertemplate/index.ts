/** Clusters from templates: parameters, files, records, what an upgrade changes, what is wrong. No I/O. */
export { isClusterTemplate, readClusterTemplate, templateDigest } from "./read.ts";
export {
  missingParameters,
  parametersOf,
  parseParameter,
  problemsOf,
  versionParameter,
  type NamedParameter,
} from "./parameters.ts";
export { checkClusterName } from "./names.ts";
export { renderFiles, type Cluster, type ClusterIdentity } from "./render.ts";
export { planCreation } from "./create.ts";
export { planUpgrade, recordOf, type FileChange } from "./upgrade.ts";
export { filesOfCluster } from "./upgrade.ts";
export { publicPart, type GeneratedFile } from "./seal.ts";
export { configurationOf, withoutClusterRule } from "./creation-rules.ts";
export { lintTemplate } from "./lint.ts";
export { unifiedDiff } from "./diff.ts";
