import type { Live, Mirror } from "../drift/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { healthOf, parseKey, type Health, type KubeObject } from "../object/index.ts";
import { kindOfKey, servedKinds, type Look } from "./hands.ts";
import type { HealthWatch } from "./health-watch.ts";
import type { Kinds } from "./kinds.ts";
import { parallel } from "../pace/index.ts";
import { saidBehind } from "./problems.ts";

const width = 16;

/**
 * The health of tenants' objects: that one changed is told by a watch of metadata, what it says is
 * read object by object as the tenant, who may not be allowed to.
 */
export class TenantHealth {
  readonly #own: KubeClient;
  readonly #watch: HealthWatch;
  readonly #kinds: Kinds;
  readonly #mirror: Mirror;

  /** The watch is of metadata only, under the controller's own identity, as is `own`. */
  constructor(own: KubeClient, watch: HealthWatch, kinds: Kinds, mirror: Mirror) {
    this.#own = own;
    this.#watch = watch;
    this.#kinds = kinds;
    this.#mirror = mirror;
  }

  /** Looks as the user of this client. What has not changed since that user read it is not read again. */
  lookAs(client: KubeClient): Look {
    const known = new Map<string, Read>();
    return async (objects, signal) => {
      const keys = objects.map(({ key }) => key);
      await this.#watch.follow(await servedKinds(this.#kinds, keys, signal), signal);
      const found = await parallel(objects, width, async ({ key, live }) => {
        const held = known.get(key);
        const isSame = held?.version === (this.#watch.versionOf(kindOfKey(key), key) ?? "");
        if (isSame && held !== undefined) return [key, held.health] as const;
        const read = await this.#read(client, key, live, signal);
        if (read.version === "") known.delete(key);
        else known.set(key, read);
        if (read.health.state === "Current")
          this.#mirror.noteHealth(key, read.version, read.health);
        return [key, read.health] as const;
      });
      return new Map(found);
    };
  }

  stop(): void {
    this.#watch.stop();
  }

  async #read(client: KubeClient, key: string, live: Live, signal: AbortSignal): Promise<Read> {
    const id = parseKey(key);
    const [resource] = await servedKinds(this.#kinds, [key], signal);
    if (id === undefined || resource === undefined) return unknown("its kind is not served");
    try {
      return asOf(live, await client.get(resource, id, { signal }));
    } catch (error) {
      const isDenied = error instanceof ApiError && error.status === 403;
      const why = isDenied ? error.detail : await saidBehind(this.#own, error, signal);
      if (why === undefined) throw error;
      return unknown(why);
    }
  }
}

/** What was read at a version; none when it says nothing of the object that is meant. */
type Read = { readonly version: string; readonly health: Health };

const unknown = (message: string): Read => ({
  version: "",
  health: { state: "InProgress", message },
});

/** The health of at least this generation of this very object. */
function asOf({ uid, generation = 0 }: Live, object: KubeObject | undefined): Read {
  if (object === undefined || object.metadata.uid !== uid) return unknown("has not been seen yet");
  const { resourceVersion: version = "", generation: seen = 0 } = object.metadata;
  return seen < generation
    ? unknown("has not been seen yet")
    : { version, health: healthOf(object) };
}
