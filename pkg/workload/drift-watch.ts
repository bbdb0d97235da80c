import { liveOf, type Mirror } from "../drift/index.ts";
import { ApiError, Informer, type KubeClient } from "../kube/index.ts";
import { idOf, keyOf, labels, type KubeObject, type Resource } from "../object/index.ts";

const listDeadlineMs = 20_000;

type Watched = {
  readonly version: string;
  readonly informer: Informer;
  readonly stop: AbortController;
  listed: boolean;
  failure: unknown;
  readonly waiting: Set<() => void>;
};

export type DriftHandlers = {
  /** An owned object was written by somebody else, or has gone. */
  readonly onNews: () => void;
  /** A watch could not go on, so everything was listed anew: what is in memory may be old. */
  readonly onRelisted: () => void;
  /** A list or a watch failed. */
  readonly onTrouble: (error: unknown) => void;
  readonly random: () => number;
};

/** Metadata-only watches over all objects that carry an owner label, one per kind; they feed the mirror. */
export class DriftWatch {
  readonly #client: KubeClient;
  readonly #mirror: Mirror;
  readonly #handlers: DriftHandlers;
  readonly #watched = new Map<string, Watched>();

  constructor(client: KubeClient, mirror: Mirror, handlers: DriftHandlers) {
    this.#client = client;
    this.#mirror = mirror;
    this.#handlers = handlers;
  }

  /**
   * Watches these kinds besides those that are watched, and returns when each of them is in the
   * mirror, with those that cannot be listed and why. Keys are `group/Kind`.
   */
  async follow(
    resources: readonly Resource[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, unknown>> {
    const kinds = resources.map((resource) => [kindKey(resource), resource] as const);
    for (const [kind, resource] of kinds) {
      const held = this.#watched.get(kind);
      if (held?.version === resource.version) continue;
      // The kind is served at another version now; the one that is watched may be gone.
      held?.stop.abort();
      this.#watched.set(kind, this.#start(resource));
    }
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(listDeadlineMs)]);
    await Promise.all(kinds.map(([kind]) => this.#known(kind, deadline)));
    const failed = kinds.flatMap(([kind]): [string, unknown][] => {
      const watched = this.#watched.get(kind);
      if (watched?.listed === true) return [];
      return [[kind, watched?.failure ?? noAnswer(kind)]];
    });
    return new Map(failed);
  }

  /** Ends the watches of all other kinds. */
  retain(kinds: ReadonlySet<string>): void {
    for (const [kind, { stop }] of this.#watched) {
      if (kinds.has(kind)) continue;
      stop.abort();
      this.#watched.delete(kind);
    }
  }

  stop(): void {
    this.retain(new Set());
  }

  /** Resolves when the kind was listed, or could not be. */
  async #known(kind: string, deadline: AbortSignal): Promise<void> {
    const watched = this.#watched.get(kind);
    if (watched === undefined || watched.listed || watched.failure !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = () => resolve();
    watched.waiting.add(end);
    deadline.addEventListener("abort", end, { once: true });
    await promise;
    watched.waiting.delete(end);
    deadline.removeEventListener("abort", end);
  }

  #start(resource: Resource): Watched {
    const stop = new AbortController();
    const tell = () => {
      for (const wake of watched.waiting) wake();
    };
    const informer = new Informer(this.#client, resource, {
      labelSelector: labels.owner,
      streamed: true,
      metadataOnly: true,
      random: this.#handlers.random,
      keep: identityOf,
      onChange: (object, gone, listed) => this.#see(object, { gone, listed }, watched),
      onListed: () => {
        if (watched.listed) this.#handlers.onRelisted();
        watched.listed = true;
        watched.failure = undefined;
        tell();
      },
      onError: (error) => {
        if (!watched.listed) watched.failure = error;
        tell();
        this.#handlers.onTrouble(error);
      },
    });
    const watched: Watched = {
      version: resource.version,
      informer,
      stop,
      listed: false,
      failure: undefined,
      waiting: new Set(),
    };
    void informer.run(stop.signal);
    return watched;
  }

  #see(
    object: KubeObject,
    how: { readonly gone: boolean; readonly listed: boolean },
    { listed }: Watched,
  ): void {
    const { uid = "", resourceVersion: version = "" } = object.metadata;
    // What is there when we first look was applied by an earlier pass, which waited for it.
    const read = () => ({ ...liveOf(object), ...(how.listed ? { established: true } : {}) });
    const news = this.#mirror.see(keyOf(idOf(object)), { uid, version, read }, how);
    if (news && listed) this.#handlers.onNews();
  }
}

/** The kind of a resource as it begins an object's key. */
export function kindKey({ group, kind }: Pick<Resource, "group" | "kind">): string {
  return `${group}/${kind}`;
}

/** One kind whose server hangs must not look like a lost connection: 504 is what a gateway would say. */
function noAnswer(kind: string): ApiError {
  const what = `no answer within ${listDeadlineMs / 1_000} s`;
  return new ApiError(`LIST ${kind}`, what, { status: 504 });
}

/** All that the informer needs to keep; the rest is in the mirror. */
function identityOf({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
  };
}
