// What goes wrong with the lab's API servers and their etcd, on demand. A server is called `hub` or
// by its cluster's name, and belongs to the lab that started it: after a move still the first one.
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { etcdDir, etcdReady, serverProcess, serverReady } from "./apiserver.ts";
import { managerReady } from "./managers.ts";
import {
  compact,
  deleteBelow,
  entriesBelow,
  etcdPortOf,
  prefixOf,
  putEntries,
  type Entry,
} from "./etcd.ts";
import { kill, pidOf, recorded, relaunch, signal } from "./processes.ts";
import type { LabFile } from "./state.ts";
import { until } from "./wait.ts";

/** Everything that one API server has stored, at one moment. */
export type Snapshot = { readonly server: string; readonly entries: readonly Entry[] };

const hubEtcd = "etcd-hub";
/** Those who watch the hub, and believe the resourceVersions that they have seen. */
const hubClients = ["capi-core", "kube-controller-manager", "provider", "stand-in"];

/** Ends an API server by SIGKILL. Its port refuses connections until `restartServer`. */
export async function killServer(lab: LabFile, server: string): Promise<void> {
  await kill(lab.dir, serverProcess(server));
}

/** Starts an API server again with the flags that it had, by SIGKILL first when it runs; returns when it is ready. */
export async function restartServer(lab: LabFile, server: string): Promise<void> {
  await killServer(lab, server);
  await relaunch(lab.dir, serverProcess(server));
  await serverReady(lab.dir, server);
}

/** Makes an API server hang: its connections stay, and nobody answers on them, until `thawServer`. */
export async function freezeServer(lab: LabFile, server: string): Promise<void> {
  await signal(lab.dir, serverProcess(server), "SIGSTOP");
}

/** Lets an API server go on that hangs. */
export async function thawServer(lab: LabFile, server: string): Promise<void> {
  await signal(lab.dir, serverProcess(server), "SIGCONT");
}

/**
 * Compacts the etcd of an API server at its current revision, which it returns. A running server
 * still answers old watches from its memory; after `restartServer` they get 410.
 */
export async function compactHistory(lab: LabFile, server: string): Promise<number> {
  return compact(etcdPortOf(lab, server));
}

/** A backup of what one API server has stored. The server goes on meanwhile. */
export async function snapshotServer(lab: LabFile, server: string): Promise<Snapshot> {
  return { server, entries: await entriesBelow(etcdPortOf(lab, server), prefixOf(server)) };
}

/**
 * Puts a backup back: the server ends by SIGKILL, loses everything, gets the old values, and starts
 * with the flags that it had. Objects are as they were, with resourceVersions higher than any before.
 * Of leases in etcd only the keys come back, so that Events of the backup stay for ever.
 */
export async function restoreServer(
  lab: LabFile,
  server: string,
  snapshot: Snapshot,
): Promise<void> {
  if (snapshot.server !== server)
    throw new Error(`this is a backup of ${snapshot.server}, not of ${server}`);
  const port = etcdPortOf(lab, server);
  await killServer(lab, server);
  await deleteBelow(port, prefixOf(server));
  await putEntries(port, snapshot.entries);
  await restartServer(lab, server);
}

/**
 * Copies the data directory of the hub's own etcd, frozen for the time of the copy, and gives the
 * copy's path. As after a power cut, but nothing is lost: what the hub has acknowledged is in it.
 * Needs a lab with `hubEtcd: "own"`.
 */
export async function copyHubEtcd(lab: LabFile): Promise<string> {
  assertOwnEtcd(lab);
  const copy = await mkdtemp(join(lab.dir, "etcd-hub-copy-"));
  await signal(lab.dir, hubEtcd, "SIGSTOP");
  try {
    await until(() => isFrozen(lab.dir), { deadlineMs: 5_000, what: "etcd to freeze", everyMs: 5 });
    await cp(etcdDir(lab.dir, hubEtcd), copy, { recursive: true });
  } finally {
    await signal(lab.dir, hubEtcd, "SIGCONT");
  }
  return copy;
}

/**
 * Puts a copy of the hub's etcd back, as who restores a backup by etcd's own means without a revision
 * bump: the hub is as it was, resourceVersions are lower than before, and its API server and Cluster
 * API's controllers, the provider and the stand-in are started anew. Nobody else is: clients of the
 * hub see a closed connection. Workload API servers go on, also of Clusters that the hub no longer knows.
 */
export async function restoreHubEtcd(lab: LabFile, copy: string): Promise<void> {
  assertOwnEtcd(lab);
  const { dir, ports } = lab;
  const known = await recorded(dir);
  const clients = hubClients.filter((name) => known.includes(name));
  await Promise.all(clients.map((name) => kill(dir, name)));
  await killServer(lab, "hub");
  await kill(dir, hubEtcd);
  await rm(etcdDir(dir, hubEtcd), { recursive: true });
  await cp(copy, etcdDir(dir, hubEtcd), { recursive: true });
  await relaunch(dir, hubEtcd);
  await etcdReady(dir, hubEtcd, ports.hubEtcd);
  await restartServer(lab, "hub");
  await Promise.all(clients.map((name) => relaunch(dir, name)));
  if (clients.includes("capi-core")) await managerReady(dir, "capi-core", ports.capiHealth);
}

function assertOwnEtcd(lab: LabFile): void {
  if (lab.hubEtcd !== "own")
    throw new Error('the hub shares etcd with its clusters: start the lab with hubEtcd: "own"');
}

/** Whether every thread of the hub's etcd has stopped: one may still be in a write. */
async function isFrozen(labDir: string): Promise<boolean> {
  const pid = await pidOf(labDir, hubEtcd);
  if (pid === undefined) throw new Error(`${hubEtcd} does not run`);
  const threads = await readdir(`/proc/${pid}/task`);
  const stats = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/stat`, "utf8")),
  );
  return stats.every((stat) => stat.slice(stat.lastIndexOf(")") + 2).startsWith("T"));
}
