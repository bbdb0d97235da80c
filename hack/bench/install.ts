import { auditOf, isRefused, writes, type Mark } from "../lab/audit.ts";
import { until } from "../lab/wait.ts";
import type { Contender } from "./contender.ts";
import type { Ground, Run, Target } from "./ground.ts";

const installDeadlineMs = 300_000;
/** What is measured is in the audit logs: looking for it often would only disturb. */
const lookEveryMs = 250;

/**
 * Milliseconds from asking a contender to the last object in the last cluster: the moment when an
 * API server had its first successful write of that object answered, by the audit logs.
 */
export async function installMs(ground: Ground, contender: Contender, run: Run): Promise<number> {
  await contender.prepare(run);
  const logs = run.clusters.map(({ name }) => auditOf(ground.lab.dir, name));
  const marks = await Promise.all(logs.map((log) => log.mark()));
  const startedAtMs = Date.now();
  await contender.install(run);
  const done = await Promise.all(
    run.clusters.map(({ name }, i) => lastWritten(ground, name, marks[i] ?? 0)),
  );
  return Math.max(...done) - startedAtMs;
}

/** When the last of all objects was written in a cluster for the first time, in milliseconds since 1970. */
async function lastWritten({ lab, targets }: Ground, cluster: string, mark: Mark): Promise<number> {
  const log = auditOf(lab.dir, cluster);
  const keys = targets.map(keyOfTarget);
  return until(
    async () => {
      const times = new Map<string, number>();
      const notOurs = [isRefused, isOfServer, isOfSubresource];
      for (const entry of writes(await log.since(mark), { except: notOurs })) {
        const key = keyFor(entry.group, entry.resource, entry.namespace, entry.name);
        if (!times.has(key)) times.set(key, entry.timeMs);
      }
      const missing = keys.filter((key) => !times.has(key));
      if (missing.length > 0)
        throw new Error(`${missing.length} objects are missing in ${cluster}: ${missing[0]}`);
      return Math.max(...keys.map((key) => times.get(key) ?? 0));
    },
    { deadlineMs: installDeadlineMs, what: `Flux in ${cluster}`, everyMs: lookEveryMs },
  );
}

const isOfServer = ({ user }: { user: string }) => user === "system:apiserver";
const isOfSubresource = ({ subresource }: { subresource: string }) => subresource !== "";

/** An audit log gives a Namespace its own name as its namespace. */
function keyFor(group: string, resource: string, namespace: string, name: string): string {
  return [group, resource, resource === "namespaces" ? "" : namespace, name].join("/");
}

function keyOfTarget({ resource, object: { metadata } }: Target): string {
  return keyFor(resource.group, resource.plural, metadata.namespace ?? "", metadata.name);
}
