import type { LabFile } from "./state.ts";

/** A key and its value as etcd's JSON gateway gives them: in base64. */
export type Entry = { readonly key: string; readonly value: string };

/** Keys that one range request asks for: etcd's replies have a limit. */
const pageMax = 200;
/** Puts that are under way at once. */
const putsMax = 16;

/** The port of the etcd that an API server of the lab stands on. */
export function etcdPortOf(lab: LabFile, server: string): number {
  return server === "hub" && lab.hubEtcd === "own" ? lab.ports.hubEtcd : lab.ports.etcd;
}

/** Where etcd keeps what an API server of the lab has stored. */
export const prefixOf = (server: string) => `/capitan/${server}/`;

/** All keys below a prefix, as they are at one revision. */
export async function entriesBelow(port: number, prefix: string): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const { range_end } = rangeOf(prefix);
  let key = base64(prefix);
  let revision: string | undefined;
  for (;;) {
    const reply = (await call(port, "kv/range", { key, range_end, revision, limit: pageMax })) as {
      header: { revision: string };
      kvs?: readonly Entry[];
      more?: boolean;
    };
    revision ??= reply.header.revision;
    const page = (reply.kvs ?? []).map((entry) => ({ key: entry.key, value: entry.value }));
    entries.push(...page);
    const last = page.at(-1);
    if (reply.more !== true || last === undefined) return entries;
    // The next possible key: the last one with a zero byte behind it.
    key = Buffer.concat([Buffer.from(last.key, "base64"), Buffer.of(0)]).toString("base64");
  }
}

/** Writes all entries; each gets a new revision. */
export async function putEntries(port: number, entries: readonly Entry[]): Promise<void> {
  for (let start = 0; start < entries.length; start += putsMax) {
    const some = entries.slice(start, start + putsMax);
    await Promise.all(some.map((entry) => call(port, "kv/put", entry)));
  }
}

/** Deletes all keys below a prefix. */
export async function deleteBelow(port: number, prefix: string): Promise<void> {
  await call(port, "kv/deleterange", rangeOf(prefix));
}

/** Forgets every revision before the current one, also on disk; gives the current one. */
export async function compact(port: number): Promise<number> {
  const { header } = (await call(port, "maintenance/status", {})) as {
    header: { revision: string };
  };
  await call(port, "kv/compaction", { revision: header.revision, physical: true });
  return Number(header.revision);
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** "0" is the character after "/": the range ends before everything that is not below the prefix. */
function rangeOf(prefix: string): { readonly key: string; readonly range_end: string } {
  return { key: base64(prefix), range_end: base64(prefix.replace(/\/$/, "0")) };
}

async function call(port: number, path: string, body: object): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`etcd refused ${path}: ${await response.text()}`);
  return response.json();
}
