import { healthOf, keyOf, idOf, labels, type Health, type KubeObject } from "../object/index.ts";
import { Informer, type KubeClient } from "../kube/index.ts";
import { type Resource } from "../object/index.ts";

const syncDeadlineMs = 10_000;

type Watched = {
  readonly version: string;
  readonly informer: Informer;
  readonly stop: AbortController;
  readonly objects: Map<string, KubeObject>;
};

type HealthWatchOptions = {
  readonly random: () => number;
  /** Only that an object changed is told; what it says is to be read by who may. */
  readonly metadataOnly?: boolean;
};

/** Watches whole objects of a few kinds while somebody waits for their health. */
export class HealthWatch {
  readonly #client: KubeClient;
  readonly #onChange: () => void;
  readonly #options: HealthWatchOptions;
  readonly #watched = new Map<string, Watched>();
  /** Whoever is in `follow` reads right after it: to be told as well would make him come again, for ever. */
  #isAwaited = false;

  constructor(client: KubeClient, onChange: () => void, options: HealthWatchOptions) {
    this.#client = client;
    this.#onChange = onChange;
    this.#options = options;
  }

  /** Starts to watch these kinds besides those that are watched, and returns when each has been listed once. */
  async follow(resources: readonly Resource[], signal: AbortSignal): Promise<void> {
    for (const resource of resources) {
      const key = `${resource.group}/${resource.kind}`;
      const held = this.#watched.get(key);
      if (held?.version === resource.version) continue;
      held?.stop.abort();
      this.#watched.set(key, this.#start(resource));
    }
    const synced = Promise.all([...this.#watched.values()].map(({ informer }) => informer.synced));
    this.#isAwaited = true;
    await beforeDeadline(synced, syncDeadlineMs, signal);
    this.#isAwaited = false;
  }

  /** Stops everything. */
  stop(): void {
    for (const { stop } of this.#watched.values()) stop.abort();
    this.#watched.clear();
  }

  /** The version at which an object was last seen; undefined when it was not. */
  versionOf(kind: string, key: string): string | undefined {
    return this.#watched.get(kind)?.objects.get(key)?.metadata.resourceVersion;
  }

  /**
   * The health of an object, as of at least this generation of this uid: what the watch has not
   * caught up with is in progress.
   */
  healthOf(
    kind: string,
    key: string,
    { uid, generation }: { uid: string; generation: number | undefined },
  ): Health {
    const object = this.#watched.get(kind)?.objects.get(key);
    const caughtUp =
      object !== undefined &&
      object.metadata.uid === uid &&
      (object.metadata.generation ?? 0) >= (generation ?? 0);
    return caughtUp ? healthOf(object) : { state: "InProgress", message: "has not been seen yet" };
  }

  #start(resource: Resource): Watched {
    const objects = new Map<string, KubeObject>();
    const stop = new AbortController();
    const informer = new Informer(this.#client, resource, {
      labelSelector: labels.owner,
      ...this.#options,
      onChange: (object, gone) => {
        if (gone) objects.delete(keyOf(idOf(object)));
        else objects.set(keyOf(idOf(object)), object);
        if (!this.#isAwaited) this.#onChange();
      },
    });
    void informer.run(stop.signal);
    return { version: resource.version, informer, stop, objects };
  }
}

async function beforeDeadline(
  work: Promise<unknown>,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  const timer = setTimeout(end, deadlineMs);
  signal.addEventListener("abort", end, { once: true });
  await Promise.race([work, promise]);
  clearTimeout(timer);
  signal.removeEventListener("abort", end);
}
