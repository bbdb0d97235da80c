import type { KubeClient } from "../../pkg/kube/index.ts";
import type { LabFile } from "../lab/state.ts";

export type Birth = { readonly stepsMs: Readonly<Record<string, number>> };
export function showBirth(_lab: LabFile, _hub: KubeClient): Promise<Birth> {
  return Promise.resolve({ stepsMs: {} });
}
