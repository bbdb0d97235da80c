import { isCapitanError } from "../errors/index.ts";
import type { KubeObject } from "../object/index.ts";
import { ApiError } from "./api-error.ts";
import type { KubeClient, ListOptions, ListResult } from "./client.ts";
import type { Resource } from "../object/index.ts";
import { nameKey } from "./path.ts";
import { streamList, type StreamedList } from "./streamed-list.ts";
import type { WatchEvent } from "./watch.ts";

export type InformerOptions = Omit<ListOptions, "signal"> & {
  /**
   * Called for every object that appeared, changed or went; `listed` when a list told, not the watch.
   * Must not throw; if it does, everything is listed again.
   */
  readonly onChange: (object: KubeObject, gone: boolean, listed: boolean) => void;
  /** Called after each complete list: the first, and every later one because the watch could not go on. */
  readonly onListed?: () => void;
  /** What is kept of each object; it needs its name, namespace, uid and resourceVersion. Default: everything. */
  readonly keep?: (object: KubeObject) => KubeObject;
  /** Lists and watches in one request instead of two, where the API server can do that. */
  readonly streamed?: boolean;
  /** Told of every failure that made the informer start over. */
  readonly onError?: (error: unknown) => void;
  /** Silence on the watch longer than this is taken for a dead peer. API servers send a bookmark a minute. Milliseconds. */
  readonly idleMs?: number;
  /** A number in [0, 1) for jitter. */
  readonly random: () => number;
};

const idleDefaultMs = 90_000;
/** A watch that lasted this long was a good one. */
const steadyMs = 5_000;
const backoffMinMs = 100;
const backoffMaxMs = 30_000;

/**
 * What an API server answers that cannot list and watch in one request, and what stands for one that sent
 * no whole list (504). Anything else may pass: 429 while the storage of a new CRD begins, 410, 503.
 */
const cannotStream = new Set([400, 405, 406, 415, 422, 504]);

/** Clients of API servers that answered a list, but not one and the watch in one request. */
const listsOnly = new WeakSet<KubeClient>();

/**
 * A cache of all objects of a kind, kept by list and watch. It survives 410 in the middle of a list
 * or a watch, silence, unreadable events, lost connections and handlers that throw; an event is
 * never skipped: what cannot be followed is listed again.
 */
export class Informer {
  readonly #client: KubeClient;
  readonly #resource: Resource;
  readonly #options: InformerOptions;
  readonly #items = new Map<string, KubeObject>();
  readonly #synced = Promise.withResolvers<void>();
  #version = "";
  /** Whether the watch broke off: an API server that was restored from a backup may be older than what we know. */
  #brokeOff = false;

  constructor(client: KubeClient, resource: Resource, options: InformerOptions) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
  }

  /** Whether it has listed and its watch has not broken off since: what changes now is told. */
  get isFollowing(): boolean {
    return this.#version !== "" && !this.#brokeOff;
  }

  /** Resolves when the first list is in the cache. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get(namespace: string, name: string): KubeObject | undefined {
    return this.#items.get(`${namespace}/${name}`);
  }

  items(): readonly KubeObject[] {
    return [...this.#items.values()];
  }

  /** Lists and watches until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const startedMs = performance.now();
      const failure = await this.#once(signal);
      if (signal.aborted) return;
      // However it ended: a watch that lived is no failure, one that ended at once is one.
      const lived = performance.now() - startedMs > steadyMs;
      failures = lived ? 0 : failures + 1;
      if (failure !== undefined) this.#options.onError?.(failure);
      if (failures > 0) await pause(this.#backoffMs(failures), signal);
    }
  }

  /** Lists if need be, then follows one watch to its end. Gives what made it fail. */
  async #once(signal: AbortSignal): Promise<unknown> {
    try {
      if (this.#brokeOff && (await this.#wentBack(signal))) this.#version = "";
      const events =
        this.#version === "" ? await this.#begin(signal) : this.#watch(this.#version, signal);
      this.#brokeOff = false;
      for await (const event of events) this.#note(event);
      return undefined;
    } catch (error) {
      this.#brokeOff = true;
      if (!canResume(error)) this.#version = "";
      // A quiet kind: the watch is asked for again from where it was, and nobody need know.
      return isSilence(error) ? undefined : error;
    }
  }

  /** Whether the API server is older than what we know: a watch from its future would be silent. */
  async #wentBack(signal: AbortSignal): Promise<boolean> {
    if (this.#version === "") return false;
    const now = await this.#client.version(this.#resource, { ...this.#options, signal });
    return !isNumeric(now) || !isNumeric(this.#version) || BigInt(now) < BigInt(this.#version);
  }

  /** Takes in what is there, and gives the events that follow. */
  async #begin(signal: AbortSignal): Promise<AsyncIterable<WatchEvent>> {
    const mayStream = this.#options.streamed === true && !listsOnly.has(this.#client);
    const list = mayStream ? await this.#streamed(signal) : await this.#listed(signal);
    try {
      this.#take(list);
      return list.events;
    } catch (error) {
      await list.events.return(undefined);
      throw error;
    }
  }

  /** Whatever an API server has against one request for both, it may answer two. */
  async #streamed(signal: AbortSignal): Promise<StreamedList> {
    try {
      return await streamList(this.#client, this.#resource, this.#following(signal));
    } catch (error) {
      if (signal.aborted) throw error;
      const list = await this.#listed(signal);
      if (error instanceof ApiError && cannotStream.has(error.status)) listsOnly.add(this.#client);
      return list;
    }
  }

  async #listed(signal: AbortSignal): Promise<StreamedList> {
    const list = await this.#client.list(this.#resource, { ...this.#options, signal });
    return { ...list, events: this.#watch(list.resourceVersion, signal) };
  }

  #take({ items, resourceVersion }: ListResult): void {
    const found = new Map(items.map((object) => [nameKey(object), object]));
    for (const [key, object] of this.#items) {
      if (!found.has(key)) this.#set(key, object, { gone: true, listed: true });
    }
    for (const [key, object] of found) {
      const held = this.#items.get(key);
      if (held === undefined || !sameVersion(held, object))
        this.#set(key, object, { gone: false, listed: true });
    }
    this.#version = resourceVersion;
    this.#synced.resolve();
    this.#options.onListed?.();
  }

  #watch(resourceVersion: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    return this.#client.watch(this.#resource, { ...this.#following(signal), resourceVersion });
  }

  #following(signal: AbortSignal) {
    const { idleMs = idleDefaultMs, random } = this.#options;
    return { ...this.#options, idleMs, timeoutSeconds: Math.round(240 + 240 * random()), signal };
  }

  #note(event: WatchEvent): void {
    if (event.type === "BOOKMARK") {
      this.#version = event.resourceVersion;
      return;
    }
    const gone = event.type === "DELETED";
    this.#set(nameKey(event.object), event.object, { gone, listed: false });
    this.#version = event.object.metadata.resourceVersion ?? this.#version;
  }

  /** Takes note and tells. When telling fails, the note is undone, so that the next list tells again. */
  #set(
    key: string,
    object: KubeObject,
    { gone, listed }: { readonly gone: boolean; readonly listed: boolean },
  ): void {
    const { keep = (whole) => whole, onChange } = this.#options;
    const held = this.#items.get(key);
    if (gone) this.#items.delete(key);
    else this.#items.set(key, keep(object));
    try {
      onChange(object, gone, listed);
    } catch (error) {
      if (gone) this.#items.set(key, held ?? object);
      else this.#items.delete(key);
      throw error;
    }
  }

  #backoffMs(failures: number): number {
    const full = Math.min(backoffMinMs * 2 ** (failures - 1), backoffMaxMs);
    return full * (0.5 + 0.5 * this.#options.random());
  }
}

/** Resource versions are decimal numbers that can be compared (KEP-5504); what is none is not trusted. */
const isNumeric = (version: string) => /^[0-9]{1,40}$/.test(version);

const sameVersion = (a: KubeObject, b: KubeObject) =>
  a.metadata.uid === b.metadata.uid && a.metadata.resourceVersion === b.metadata.resourceVersion;

/** Whether the server said nothing for too long, not even a bookmark. */
function isSilence(error: unknown): boolean {
  return error instanceof ApiError && error.status === 0 && /timeout/i.test(error.detail);
}

/** Whether the watch may go on from the last version: the connection failed, not the version or the content. */
function canResume(error: unknown): boolean {
  if (!(error instanceof ApiError)) return isCapitanError(error) && error.code === "Unreachable";
  if (error.reason === "PoisonEvent" || error.status === 410) return false;
  return error.status === 0 || [401, 429, 502, 503].includes(error.status);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}

/** An object without what only the API server needs: who wrote which field of it. */
export function withoutManagedFields<T extends Pick<KubeObject, "metadata">>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
