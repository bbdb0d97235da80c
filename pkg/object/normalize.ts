import { CapitanError } from "../errors/index.ts";
import { groupOf, idOf, nameOf } from "./id.ts";
import { labels as ourLabels } from "./ownership.ts";
import { isJsonMap, type JsonMap } from "../json/index.ts";
import { type KubeObject } from "./types.ts";

/**
 * An object as it is sent: what the server owns is taken out, what would make ownership lie or two
 * writers fight is taken out (`stringData`, placeholder `caBundle`, `rules` beside an
 * `aggregationRule`), the owner label is put in. The rules are those of kubernetes#108008 and of
 * measurements on real API servers; see docs/adr. Throws ManifestInvalid.
 */
export function normalize(object: KubeObject, owner: string): KubeObject {
  const { status: _status, ...rest } = object;
  let result = cleaned(rest, hasCaBundle(object)) as JsonMap;
  if (object.kind === "Secret" && groupOf(object.apiVersion) === "")
    result = foldStringData(result, object);
  if (object.kind === "ClusterRole" && result["aggregationRule"] !== undefined) {
    const { rules: _rules, ...withoutRules } = result;
    result = withoutRules;
  }
  return { ...(result as KubeObject), metadata: cleanMetadata(object, owner) };
}

const serverOwned = new Set([
  "managedFields",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "resourceVersion",
  "uid",
  "generation",
  "selfLink",
  "generateName",
]);

function cleanMetadata({ metadata }: KubeObject, owner: string): KubeObject["metadata"] {
  const kept = Object.entries(metadata).filter(([key]) => !serverOwned.has(key));
  const labels = { ...metadata.labels, [ourLabels.owner]: owner };
  return { ...(Object.fromEntries(kept) as KubeObject["metadata"]), labels };
}

function hasCaBundle({ kind }: KubeObject): boolean {
  return (
    kind.endsWith("WebhookConfiguration") ||
    kind === "CustomResourceDefinition" ||
    kind === "APIService"
  );
}

/** A `caBundle` that somebody else is to inject must not be ours, not even as null. */
const placeholders = new Set<unknown>([null, "", "Cg=="]);

function cleaned(value: unknown, dropCaBundle: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => cleaned(item, dropCaBundle));
  if (!isJsonMap(value)) return value;
  const kept = Object.entries(value).filter(([key, v]) => {
    if (key === "creationTimestamp" && v === null) return false;
    return !(dropCaBundle && key === "caBundle" && placeholders.has(v));
  });
  return Object.fromEntries(kept.map(([key, v]) => [key, cleaned(v, dropCaBundle)]));
}

function foldStringData(result: JsonMap, object: KubeObject): JsonMap {
  const { stringData, ...rest } = result;
  if (stringData === undefined || stringData === null) return rest;
  if (!isJsonMap(stringData)) throw badSecret(object, "stringData is not a map");
  const folded = Object.entries(stringData).map(([key, value]) => {
    if (typeof value !== "string") throw badSecret(object, `stringData.${key} is not a string`);
    return [key, Buffer.from(value, "utf8").toString("base64")] as const;
  });
  const data = isJsonMap(rest["data"]) ? rest["data"] : {};
  return { ...rest, data: { ...data, ...Object.fromEntries(folded) } };
}

const badSecret = (object: KubeObject, what: string) =>
  new CapitanError("ManifestInvalid", `${nameOf(idOf(object))}: ${what}`);
