import { CapitanError } from "../errors/index.ts";
import { asList, asMap, asString, isJsonMap } from "../json/index.ts";
import { groupOf, keyOf, type KubeObject } from "../object/index.ts";
import type { Entry } from "../inventory/index.ts";
import type { Facts } from "./step.ts";

/** An object whose removal was approved where the layer's files are kept. */
export type ApprovedRemoval = { readonly key: string; readonly uid: string };

const kind = "RemovalApproval";
const apiVersion = "capitan.dev/v1alpha1";
const objectsMax = 1_000;
const fields = ["apiVersion", "kind", "namespace", "name", "uid"];

/** What a layer applies, and what its documents of kind RemovalApproval say: those are read, never applied. Throws ManifestInvalid. */
export function splitApprovals(all: readonly KubeObject[]): {
  readonly objects: readonly KubeObject[];
  readonly approvals: readonly ApprovedRemoval[];
} {
  const documents = all.filter(isApproval);
  const objects = documents.length === 0 ? all : all.filter((object) => !isApproval(object));
  return { objects, approvals: documents.flatMap(approvedIn) };
}

const isApproval = (object: KubeObject) =>
  object.kind === kind && groupOf(object.apiVersion) === groupOf(apiVersion);

function approvedIn({ metadata, ...document }: KubeObject): readonly ApprovedRemoval[] {
  const refuse = (what: string): CapitanError =>
    new CapitanError("ManifestInvalid", `${kind}/${metadata.name}: ${what}`);
  if (document.apiVersion !== apiVersion) throw refuse(`apiVersion must be ${apiVersion}`);
  const spec = asMap(document["spec"]);
  const isPlain = isOnly(document, ["apiVersion", "kind", "spec"]) && isOnly(spec, ["objects"]);
  if (!isPlain) throw refuse("it has nothing but spec.objects");
  const objects = asList(spec["objects"]);
  if (objects.length === 0 || objects.length > objectsMax)
    throw refuse(`spec.objects names 1 to ${objectsMax} objects`);
  return objects.map((item, i) => {
    const approved = approvedObject(item);
    if (approved !== undefined) return approved;
    throw refuse(`spec.objects[${i}] has exactly ${fields.join(", ")}, all of them texts`);
  });
}

function approvedObject(item: unknown): ApprovedRemoval | undefined {
  if (!isJsonMap(item) || !isOnly(item, fields)) return undefined;
  const text = (field: string) => asString(item[field]) ?? "";
  const [version, of, name, uid] = [text("apiVersion"), text("kind"), text("name"), text("uid")];
  // What is given and is no text is no namespace either.
  const namespace = item["namespace"] === undefined ? "" : text("namespace") || "/";
  const isWhole = ![version, of, name, uid].includes("");
  const isPath = [of, name, uid, namespace].some((part) => part.includes("/"));
  if (!isWhole || isPath) return undefined;
  return { key: keyOf({ group: groupOf(version), kind: of, namespace, name }), uid };
}

const isOnly = (map: object, known: readonly string[]) =>
  Object.keys(map).every((key) => known.includes(key));

/** Whether the removal of exactly this object was approved in the layers' files: another uid is another object. */
export function isApprovedInFiles({ key, uid }: Entry, { layers, live }: Facts): boolean {
  const uids = [uid, live.get(key)?.uid].filter((one) => one !== undefined);
  const approved = layers.flatMap(({ approvals = [] }) => approvals);
  return uids.length > 0 && uids.every((is) => approved.some((a) => a.key === key && a.uid === is));
}
