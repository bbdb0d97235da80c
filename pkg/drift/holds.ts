import { asList, asMap, asString } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";

/** Conditions of Namespaces and CRDs that say what is in the way of their end. */
const telling = new Set([
  "NamespaceDeletionDiscoveryFailure",
  "NamespaceDeletionGroupVersionParsingFailure",
  "NamespaceDeletionContentFailure",
  "NamespaceContentRemaining",
  "NamespaceFinalizersRemaining",
  "Terminating",
]);

/** What holds an object that is being deleted, in words: its conditions, else its finalizers. */
export function holdReason(object: KubeObject): string {
  const { metadata } = object;
  if (metadata.deletionTimestamp === undefined) return "changes all the time";
  const said = asList(asMap(object["status"])["conditions"])
    .map(asMap)
    .filter((c) => c["status"] === "True" && telling.has(asString(c["type"]) ?? ""))
    .map((c) => asString(c["message"]) ?? "")
    .filter((message) => message !== "");
  const finalizers = [
    ...(metadata.finalizers ?? []),
    ...asList(asMap(object["spec"])["finalizers"]).filter((f) => typeof f === "string"),
  ];
  const held = finalizers.length === 0 ? "" : `finalizers ${finalizers.join(", ")}`;
  const words = [...said, held].filter((part) => part !== "").join("; ");
  const since = `is being deleted since ${metadata.deletionTimestamp}`;
  return words === "" ? since : `${since}: ${words}`;
}
