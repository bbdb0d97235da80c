import { CapitanError, codes } from "../../pkg/errors/index.ts";
import { conditionOf, type Condition } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeObject, ObjectMeta } from "../../pkg/object/index.ts";
import { listOf } from "./listing.ts";
import { ago, clean, coloured, formatted, table } from "./text.ts";

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

type Described = {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
};

/** What a script gets: the object, the one cause that it is not Ready with what to do about it, the newest events. */
export async function describedFor(
  format: "json" | "yaml",
  hub: KubeClient,
  object: Described,
): Promise<string> {
  const { status, reason = "", message } = conditionOf(object.status?.conditions, "Ready") ?? {};
  const cause = status === "True" ? undefined : { reason, message, remedy: remedyOf(reason) };
  return formatted({ object, cause, events: await newestEvents(hub, object) }, format);
}

/** The newest events about an object, oldest first, as a table. */
export async function eventsOf(hub: KubeClient, object: Described): Promise<string> {
  const newest = await newestEvents(hub, object);
  if (newest.length === 0) return "";
  const now = new Date();
  const rows = newest.map(({ time, type, reason, note }) => [ago(time, now), type, reason, note]);
  return `\nEvents\n${table(["age", "type", "reason", "note"], rows)}`;
}

async function newestEvents(hub: KubeClient, { metadata }: Described) {
  const events: Resource = hubResources.event;
  const all = await listOf(hub, events, { namespace: metadata.namespace });
  const mine = all.filter((event) => asMap(event["regarding"])["uid"] === metadata.uid);
  const text = (event: KubeObject, key: string) => asString(event[key]) ?? "";
  const told = mine.map((event) => ({
    time: text(event, "eventTime"),
    type: text(event, "type"),
    reason: text(event, "reason"),
    note: text(event, "note"),
  }));
  return told.sort((a, b) => (a.time < b.time ? -1 : 1)).slice(-10);
}
