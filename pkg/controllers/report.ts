import { conditionOf, type Reporting, type RevisionLayer } from "../api/index.ts";
import { codes, messageOf } from "../errors/index.ts";
import { digestOfInventory, ownedBy } from "../inventory/index.ts";
import type { MemberOutcome } from "../status/index.ts";
import type { MemberPlan, PassResult } from "./engine.ts";
import type { Clock, EventNote, Log } from "./ports.ts";

/** Where a status and Events about it are written. */
export type Reporter<T, S> = {
  writeStatus(object: T, status: S, signal: AbortSignal): Promise<boolean>;
  emit(event: EventNote, id: { id: string; time: string }, signal: AbortSignal): Promise<void>;
};

/** Writes the status if it differs, and an Event when Ready changed its status or its reason. */
export async function report<T extends Reporting>(
  hub: Reporter<T, NonNullable<T["status"]>>,
  object: T,
  status: NonNullable<T["status"]>,
  {
    clock,
    log,
    signal,
  }: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  await hub.writeStatus(object, status, signal);
  const before = conditionOf(object.status?.conditions, "Ready");
  const after = conditionOf(status.conditions, "Ready");
  if (after === undefined) return;
  if (before?.status === after.status && before.reason === after.reason) return;
  const { reason, message: note } = after;
  const type = Object.hasOwn(codes, reason) ? "Warning" : "Normal";
  const regarding = { ...object, status };
  const event = { regarding, type, reason, action: "Reconcile", note } as const;
  await emit(hub, event, { clock, log, signal });
}

/** Records an Event. One that cannot be written is no reason to do the pass again. */
export async function emit(
  hub: Pick<Reporter<never, never>, "emit">,
  event: EventNote,
  {
    clock,
    log,
    signal,
  }: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const time = clock.now().toISOString();
  const hex = (n: number) => Math.floor(n).toString(16);
  const id = `${hex(clock.now().getTime())}${hex(clock.random() * 0xffff)}`;
  await hub.emit(event, { id, time }, signal).catch((error: unknown) => {
    log.warn({ object: event.regarding.metadata.name }, `event: ${messageOf(error)}`);
  });
}

/** What a pass came to, as the member's status tells it. */
export function outcomeOf(
  { owner, revision }: MemberPlan,
  { layers: judged, removal, appliedTime, inventory: all }: PassResult,
  clusterID: string,
): MemberOutcome {
  const sources = new Map(revision?.spec.layers.map((layer) => [layer.name, revisionText(layer)]));
  const layers = judged.map((layer) => ({ ...layer, revision: sources.get(layer.name) }));
  const mine = ownedBy(all, owner);
  const inventory = { objects: mine.length, digest: digestOfInventory(mine) };
  return { layers, removal, appliedTime, inventory, clusterID };
}

/** The wall time as statuses hold it: RFC 3339, whole seconds. */
export function timestamp({ now }: Clock): string {
  return now().toISOString().replace(/\.\d+/, "");
}

/** What people call the layer's content: a version, a tag with its digest, or nothing for inline objects. */
export function revisionText({ oci, git, flux }: RevisionLayer): string | undefined {
  return flux?.version ?? oci?.revision ?? git?.revision;
}
