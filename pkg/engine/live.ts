import { asMap } from "../json/index.ts";
import {
  createdByUs,
  groupOf,
  healthOf,
  labels,
  ownershipOf,
  type KubeObject,
} from "../object/index.ts";
import type { Live } from "./step.ts";

/** What the decisions need to know of an object, from its metadata. */
export function liveOf(object: KubeObject): Live {
  const { metadata } = object;
  return {
    uid: metadata.uid ?? "",
    own: ownershipOf(metadata),
    owner: metadata.labels?.[labels.owner],
    deleting: metadata.deletionTimestamp !== undefined,
    generation: metadata.generation,
    createdByUs: createdByUs(metadata),
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
