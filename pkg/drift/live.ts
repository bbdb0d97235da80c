import { asMap } from "../json/index.ts";
import {
  groupOf,
  healthOf,
  labels,
  ownEntry,
  type Health,
  type KubeObject,
} from "../object/index.ts";
import { createdByUs } from "./created.ts";
import { footprintOf, type Footprint } from "./footprint.ts";
import { isShared } from "./owners.ts";

/** What is known of an object in the cluster. */
export type Live = Footprint & {
  /** The owner label's value, if any. */
  readonly owner: string | undefined;
  readonly deleting: boolean;
  /** Judged from its ownership metadata, for when the reply to the creating apply was lost. */
  readonly createdByUs: boolean;
  /** For CRDs and Namespaces: whether they can be used; undefined when nobody has looked. */
  readonly established?: boolean | undefined;
  /** Undefined when nobody has looked. */
  readonly health?: Health | undefined;
  /** Whether somebody else holds one of our fields too. */
  readonly shared: boolean;
  /** Our `fieldsV1` as JSON; undefined for kinds that apply can always repair. */
  readonly fields?: string | undefined;
};

/** Flat maps of strings: nothing of somebody else's can stand in the way of ours. */
const plainKinds = new Set(["ConfigMap", "Secret"]);

/** What the decisions need to know of an object, from its metadata. */
export function liveOf(object: KubeObject): Live {
  const { metadata, kind } = object;
  const fields = plainKinds.has(kind) ? undefined : ownEntry(metadata)?.fieldsV1;
  return {
    ...footprintOf(metadata),
    owner: metadata.labels?.[labels.owner],
    deleting: metadata.deletionTimestamp !== undefined,
    createdByUs: createdByUs(metadata),
    shared: isShared(metadata),
    ...(fields === undefined ? {} : { fields: JSON.stringify(fields) }),
    ...(isBarrier(object) ? {} : { established: true }),
  };
}

/** Kinds that others need before they can be applied. */
export function isBarrier({ apiVersion, kind }: Pick<KubeObject, "apiVersion" | "kind">): boolean {
  return kind === "CustomResourceDefinition"
    ? groupOf(apiVersion) === "apiextensions.k8s.io"
    : kind === "Namespace" && apiVersion === "v1";
}

/** Whether a CRD is Established or a Namespace Active. */
export function isEstablished(object: KubeObject): boolean {
  if (object.kind === "Namespace") return asMap(object["status"])["phase"] === "Active";
  return healthOf(object).state === "Current";
}

/** Whether the object is there to stay, as this owner's, by what the API server shows of it. */
export function isKept({ deleting, owner, own }: Live, wanted: string): boolean {
  return !deleting && owner === wanted && own !== "";
}
