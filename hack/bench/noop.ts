import { auditOf, isLease, writes, type Audit, type AuditEntry } from "../lab/audit.ts";
import { until } from "../lab/wait.ts";
import type { Keeper } from "./contender.ts";
import { cpuOf } from "./cpu.ts";
import type { Ground, Run } from "./ground.ts";

const quietMs = 1_500;
const quietDeadlineMs = 60_000;

/** One pass over all clusters of a run in which there is nothing to do. */
export type Pass = {
  readonly ms: number;
  /** Requests to the hub and to the workload clusters, without those for Leases. */
  readonly requests: number;
  /** Writes among them, without the one status patch for each object that answers who asked. */
  readonly writes: number;
  /** The most LISTs of one kind that one API server got. */
  readonly listsPerKind: number;
  readonly ownCpuMs: number;
  /** CPU time of the API servers of the hub and of the run's clusters. */
  readonly serversCpuMs: number;
};

/** Asks for a pass over clusters that are as they shall be, and measures it. */
export async function noopPass(ground: Ground, keeper: Keeper, run: Run): Promise<Pass> {
  const { dir } = ground.lab;
  await keeper.settled(run);
  const clusters = run.clusters.map(({ name }) => name);
  const logs = ["hub", ...clusters].map((server) => auditOf(dir, server));
  await quiet(keeper, logs);
  const marks = await Promise.all(logs.map((log) => log.mark()));
  const before = await cpuOf(dir, keeper.process, clusters);
  const ms = await keeper.pass(run);
  const after = await cpuOf(dir, keeper.process, clusters);
  const isOwn = (entry: AuditEntry) => keeper.isOwn(entry.userAgent) && !isLease(entry);
  const perServer = await Promise.all(
    logs.map(async (log, i) => (await log.since(marks[i] ?? 0)).filter(isOwn)),
  );
  const requests = perServer.flat();
  return {
    ms,
    requests: requests.length,
    writes: writes(requests).length - answers(keeper, requests),
    listsPerKind: Math.max(...perServer.map(mostLists)),
    ownCpuMs: after.ownMs - before.ownMs,
    serversCpuMs: after.serversMs - before.serversMs,
  };
}

/** Waits until the keeper has written nothing for a while: a status may be told after it was reached. */
async function quiet(keeper: Keeper, logs: readonly Audit[]): Promise<void> {
  let marks = await Promise.all(logs.map((log) => log.mark()));
  let sinceMs = performance.now();
  const isQuiet = async () => {
    const entries = (await Promise.all(logs.map((log, i) => log.since(marks[i] ?? 0)))).flat();
    const own = entries.filter((entry) => keeper.isOwn(entry.userAgent) && !isLease(entry));
    if (writes(own).length > 0) {
      marks = await Promise.all(logs.map((log) => log.mark()));
      sinceMs = performance.now();
    }
    return performance.now() - sinceMs >= quietMs;
  };
  await until(isQuiet, {
    deadlineMs: quietDeadlineMs,
    what: `${keeper.name} to be quiet`,
    everyMs: 100,
  });
}

function mostLists(entries: readonly AuditEntry[]): number {
  const lists = entries.filter(({ verb }) => verb === "list");
  const kinds = Map.groupBy(lists, ({ group, resource }) => `${group}/${resource}`);
  return Math.max(0, ...[...kinds.values()].map(({ length }) => length));
}

/** How many objects had their answer written; a second write to the same object is none. */
function answers(keeper: Keeper, requests: readonly AuditEntry[]): number {
  const answered = writes(requests).filter(({ resource, subresource }) =>
    keeper.isAnswer(subresource === "" ? resource : `${resource}/${subresource}`),
  );
  return new Set(answered.map(({ namespace, name }) => `${namespace}/${name}`)).size;
}
