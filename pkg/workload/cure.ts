import { atVersion, lostPaths, onlyAtVersion, takeOver, type Cure } from "../drift/index.ts";
import type { DesiredObject } from "../engine/index.ts";
import { asMap, parseJson } from "../json/index.ts";
import type { KubeClient } from "../kube/index.ts";
import {
  labels,
  type KubeObject,
  type ManagedField,
  type ObjectMeta,
  type Resource,
} from "../object/index.ts";

export type Patient = {
  readonly remedy: Cure;
  readonly resource: Resource;
  readonly desired: DesiredObject;
  /** Our `fieldsV1` as of our last apply, as JSON, when it is known. */
  readonly fields: string | undefined;
};

/**
 * Changes the live object so that an apply that was refused can succeed. False when there is nothing
 * to change. Throws ApiError; 409 when the object was written meanwhile.
 */
export async function cure(
  client: KubeClient,
  patient: Patient,
  signal: AbortSignal,
): Promise<boolean> {
  const { resource, desired } = patient;
  const live = await client.get(resource, desired.id, { metadataOnly: true, signal });
  if (live === undefined) return false;
  if (patient.remedy === "recreate") {
    // A binding's role cannot be changed. Deleted is exactly the one that was read, and only ours.
    if (ownerIn(live) === undefined || ownerIn(live) !== ownerIn(desired.object)) return false;
    return client.delete(resource, live, { signal });
  }
  const managedFields = ownersAfter(patient, live.metadata);
  if (managedFields === undefined) return false;
  const { resourceVersion } = live.metadata;
  const metadata = { resourceVersion, managedFields };
  await client.mergePatch(resource, live.metadata, { metadata }, { metadataOnly: true, signal });
  return true;
}

const ownerIn = ({ metadata }: KubeObject) => metadata.labels?.[labels.owner];

function ownersAfter(
  { remedy, resource, desired, fields }: Patient,
  live: ObjectMeta,
): readonly ManagedField[] | undefined {
  const { apiVersion } = desired.object;
  if (remedy === "prune") return onlyAtVersion(live, apiVersion);
  if (remedy === "reversion") {
    const group = resource.group === "" ? "" : `${resource.group}/`;
    return atVersion(
      live,
      apiVersion,
      (version) => version !== apiVersion && version.startsWith(group),
    );
  }
  const before = fields === undefined ? undefined : asMap(parseJson(fields));
  return before === undefined ? undefined : takeOver(live, lostPaths(before, live), true);
}
