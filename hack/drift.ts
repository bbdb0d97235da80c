import { labels, type KubeObject, type Resource } from "../pkg/object/index.ts";
import { asMap, asString } from "../pkg/json/index.ts";
import { Informer, type KubeClient } from "../pkg/kube/index.ts";
import { resources } from "./lab/resources.ts";
import { until } from "./lab/wait.ts";

const repairDeadlineMs = 20_000;

/** What somebody does to an object of ours, and how one sees that it was undone. */
type Act = {
  readonly name: string;
  readonly resource: Resource;
  readonly act: (client: KubeClient, live: KubeObject) => Promise<unknown>;
  readonly isUndone: (now: KubeObject, before: KubeObject) => boolean;
};

/** The value that every object of the measurement declares, under the key `k`. */
export const declared = "declared";

const dataOf = (object: KubeObject) => {
  const value = asMap(object["data"])["k"];
  return object.kind === "Secret" ? Buffer.from(asString(value) ?? "", "base64").toString() : value;
};
const patch =
  (resource: Resource, body: object, manager = "somebody") =>
  (client: KubeClient, live: KubeObject) =>
    client.mergePatch(resource, live.metadata, body, { manager });
const isDeclared = (now: KubeObject) => dataOf(now) === declared;
const { configMap, secret } = resources;

/** The six acts whose repair is measured. */
export const acts: readonly Act[] = [
  {
    name: "object deleted",
    resource: configMap,
    act: (client, live) => client.delete(configMap, live),
    isUndone: (now, before) => now.metadata.uid !== before.metadata.uid && isDeclared(now),
  },
  {
    name: "value changed",
    resource: configMap,
    act: patch(configMap, { data: { k: "other" } }),
    isUndone: isDeclared,
  },
  {
    name: "key removed",
    resource: configMap,
    act: patch(configMap, { data: { k: null } }),
    isUndone: isDeclared,
  },
  {
    name: "owner label removed",
    resource: configMap,
    act: patch(configMap, { metadata: { labels: { [labels.owner]: null } } }),
    isUndone: ({ metadata }) => metadata.labels?.[labels.owner] !== undefined,
  },
  {
    name: "Update by the same manager name",
    resource: configMap,
    act: patch(configMap, { data: { k: "other" } }, "capitan"),
    isUndone: isDeclared,
  },
  {
    name: "Secret data",
    resource: secret,
    act: patch(secret, { data: { k: Buffer.from("other").toString("base64") } }),
    isUndone: isDeclared,
  },
];

/** Milliseconds from sending the act to seeing it undone, one after the other over the named objects. */
export async function repairTimes(
  client: KubeClient,
  act: Act,
  namespace: string,
  names: readonly string[],
): Promise<readonly number[]> {
  const times: number[] = [];
  const seen = await watching(client, act.resource, namespace);
  try {
    for (const name of names) times.push(await seen.repair(name, act));
  } finally {
    await seen.stop();
  }
  return times;
}

/** The same for one object. */
export async function repairTime(
  client: KubeClient,
  resource: Resource,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  act: Pick<Act, "act" | "isUndone">,
): Promise<number> {
  const seen = await watching(client, resource, namespace);
  try {
    return await seen.repair(name, act);
  } finally {
    await seen.stop();
  }
}

/** Watches one kind in one namespace, as whoever waits for a repair would. */
async function watching(client: KubeClient, resource: Resource, namespace: string) {
  const stop = new AbortController();
  let told: (object: KubeObject) => void = () => undefined;
  const informer = new Informer(client, resource, {
    namespace,
    random: Math.random,
    onChange: (object, gone) => {
      if (!gone) told(object);
    },
  });
  const running = informer.run(stop.signal);
  await informer.synced;
  const repair = async (name: string, { act, isUndone }: Pick<Act, "act" | "isUndone">) => {
    const before = await until(() => client.get(resource, { namespace, name }), {
      deadlineMs: repairDeadlineMs,
      what: `${resource.kind} ${name}`,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = () => reject(new Error(`${resource.kind} ${name} is not repaired`));
    const timer = setTimeout(late, repairDeadlineMs);
    told = ({ metadata, ...rest }) => {
      const isNew = metadata.resourceVersion !== before.metadata.resourceVersion;
      if (metadata.name === name && isNew && isUndone({ metadata, ...rest }, before)) resolve();
    };
    const startedMs = performance.now();
    await act(client, before);
    await promise;
    clearTimeout(timer);
    return performance.now() - startedMs;
  };
  return {
    repair,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}
