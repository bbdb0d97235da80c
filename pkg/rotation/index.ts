/** Rotation of keys over files, clusters and the hub: where each stands, the next write, and what must never be written. */
export { step, type Next, type Standing } from "./step.ts";
export { messageOf } from "./commit.ts";
export { guardOf, refusalOf } from "./safety.ts";
export { exposedTo, filesOnEndedKeys, planOf, type Plan } from "./plan.ts";
export { canaryName, contentsOf, type Content } from "./contents.ts";
export { rewriteFile, type RewriteOptions } from "./rewrite.ts";
export { editRules } from "./rules.ts";
export { managerName, wantedGeneration } from "./facts.ts";
export type {
  CanaryEdit,
  Commit,
  FileCopy,
  FileEdit,
  Generation,
  HubWrite,
  Proof,
  Reader,
  Revision,
  RotationFacts,
  RulesEdit,
  RulesFile,
  Successor,
  Tree,
  TreeFile,
  Write,
} from "./facts.ts";
