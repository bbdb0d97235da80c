import { CapitanError, codes } from "../../pkg/errors/index.ts";
import { conditionOf, type Condition } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeObject, ObjectMeta } from "../../pkg/object/index.ts";
import { listOf } from "./listing.ts";
import { ago, clean, coloured, table } from "./text.ts";

/** A name and its value, in the colour of a condition's status when there is one. */
type Fact = readonly [name: string, value: string | undefined, status?: string];

/** Lines of `name  value`, aligned. */
export function facts(pairs: readonly Fact[]): string {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== "");
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown
    .map(([name, value = "", status]) => {
      const text = clean(value).replaceAll("\n", " ");
      return `${name.padEnd(width)}   ${status === undefined ? text : coloured(text, status)}\n`;
    })
    .join("");
}

/** What the Ready condition says, and, when it is not True, the one blocking cause and what to do about it. */
export function causeOf(conditions: readonly Condition[] | undefined): readonly Fact[] {
  const ready = conditionOf(conditions, "Ready");
  if (ready === undefined)
    return [["Ready", "Unknown: has not been looked at yet; is the controller running?"]];
  const head = ["Ready", `${ready.status} (${ready.reason})`, ready.status] as const;
  if (ready.status === "True") return [head, ["Status", ready.message]];
  return [
    head,
    ["Cause", `${ready.reason}: ${ready.message}`],
    ["What to do", remedyOf(ready.reason)],
  ];
}

function remedyOf(reason: string): string | undefined {
  return Object.hasOwn(codes, reason) ? codes[reason as keyof typeof codes].remedy : undefined;
}

/** The one object of that name, wherever it is. Throws when there is none, or several. */
export function onlyOne(found: readonly KubeObject[], what: string): KubeObject {
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const names = found.map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`);
  throw new CapitanError(
    "NotFound",
    names.length === 0
      ? `there is no ${what}`
      : `several match ${what}: ${names.join(", ")}; choose with -n NAMESPACE or by the member's name`,
  );
}

/** The newest events about an object, oldest first. */
export async function eventsOf(
  hub: KubeClient,
  { metadata }: { readonly metadata: ObjectMeta },
): Promise<string> {
  const events: Resource = hubResources.event;
  const all = await listOf(hub, events, { namespace: metadata.namespace });
  const mine = all.filter((event) => asMap(event["regarding"])["uid"] === metadata.uid);
  const timeOf = (event: KubeObject) => asString(event["eventTime"]) ?? "";
  const newest = mine.sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1)).slice(-10);
  if (newest.length === 0) return "";
  const now = new Date();
  const rows = newest.map((event) => [
    ago(timeOf(event), now),
    asString(event["type"]) ?? "",
    asString(event["reason"]) ?? "",
    asString(event["note"]) ?? "",
  ]);
  return `\nEvents\n${table(["age", "type", "reason", "note"], rows)}`;
}
