import { healthOf, keyOf, idOf, labels, type Health, type KubeObject } from "../object/index.ts";
import { Informer, type KubeClient } from "../kube/index.ts";
import { type Resource } from "../object/index.ts";
import { kindKey } from "./drift-watch.ts";

const syncDeadlineMs = 10_000;

type Watched = {
  readonly version: string;
  readonly informer: Informer;
  readonly stop: AbortController;
  readonly objects: Map<string, KubeObject>;
};

/** Somebody who waits for objects of kinds that are watched. */
type Waiting = {
  readonly keys: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
  readonly look: () => void;
  readonly end: () => void;
  readonly fail: (error: unknown) => void;
};

/** Of which object something is asked, and at which generation it is at least to be. */
type Wanted = { readonly uid: string; readonly generation: number | undefined };

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
  /** Whoever is in `follow` reads what it lists: to be told as well would make him come again, for ever. */
  #isAwaited = false;
  #waiting: Waiting | undefined;

  constructor(client: KubeClient, onChange: () => void, options: HealthWatchOptions) {
    this.#client = client;
    this.#onChange = onChange;
    this.#options = options;
  }

  /** Starts to watch these kinds besides those that are watched, and returns when each has been listed once. */
  async follow(resources: readonly Resource[], signal: AbortSignal): Promise<void> {
    this.#watch(resources);
    const synced = Promise.all([...this.#watched.values()].map(({ informer }) => informer.synced));
    this.#isAwaited = true;
    await beforeDeadline(synced, syncDeadlineMs, signal);
    this.#isAwaited = false;
  }

  /**
   * Watches these kinds too, until `isDone` or the signal aborts; of the objects with these keys nobody else is
   * told meanwhile. Throws what makes the watch of one of these kinds fail.
   */
  async until(
    resources: readonly Resource[],
    { keys, isDone }: { readonly keys: readonly string[]; readonly isDone: () => boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = () => resolve();
    const look = () => {
      if (isDone()) resolve();
    };
    const kinds = new Set(resources.map(kindKey));
    this.#waiting = { keys: new Set(keys), kinds, look, end, fail: reject };
    signal.addEventListener("abort", end, { once: true });
    try {
      this.#watch(resources);
      look();
      if (!signal.aborted) await promise;
    } finally {
      signal.removeEventListener("abort", end);
      this.#waiting = undefined;
    }
  }

  /** Stops everything. */
  stop(): void {
    for (const { stop } of this.#watched.values()) stop.abort();
    this.#watched.clear();
    this.#waiting?.end();
  }

  /** The version at which an object was last seen; undefined when it was not. */
  versionOf(kind: string, key: string): string | undefined {
    return this.#watched.get(kind)?.objects.get(key)?.metadata.resourceVersion;
  }

  /** An object as of at least this generation of this uid; undefined until the watch has caught up with that. */
  seen(kind: string, key: string, { uid, generation }: Wanted): KubeObject | undefined {
    const object = this.#watched.get(kind)?.objects.get(key);
    if (object?.metadata.uid !== uid) return undefined;
    return (object.metadata.generation ?? 0) >= (generation ?? 0) ? object : undefined;
  }

  /** The health of an object; what the watch has not caught up with is in progress. */
  healthOf(kind: string, key: string, wanted: Wanted): Health {
    const object = this.seen(kind, key, wanted);
    return object === undefined
      ? { state: "InProgress", message: "has not been seen yet" }
      : healthOf(object);
  }

  #watch(resources: readonly Resource[]): void {
    for (const resource of resources) {
      const key = kindKey(resource);
      const held = this.#watched.get(key);
      if (held?.version === resource.version) continue;
      held?.stop.abort();
      this.#watched.set(key, this.#start(resource));
    }
  }

  #start(resource: Resource): Watched {
    const objects = new Map<string, KubeObject>();
    const stop = new AbortController();
    let isListed = false;
    const informer = new Informer(this.#client, resource, {
      labelSelector: labels.owner,
      streamed: true,
      ...this.#options,
      onChange: (object, gone) => {
        const key = keyOf(idOf(object));
        if (gone) objects.delete(key);
        else objects.set(key, object);
        this.#waiting?.look();
        const isExpected = (this.#isAwaited && !isListed) || this.#waiting?.keys.has(key) === true;
        if (!isExpected) this.#onChange();
      },
      onListed: () => {
        isListed = true;
      },
      onError: (error) => {
        if (this.#waiting?.kinds.has(kindKey(resource)) === true) this.#waiting.fail(error);
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
