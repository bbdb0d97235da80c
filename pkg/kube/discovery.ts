import { asList, asMap, asString, sha256Hex, type JsonMap } from "../json/index.ts";
import { read, type KubeClient } from "./client.ts";
import type { Resource } from "../object/index.ts";

/** By `apiVersion/kind`. */
type Served = ReadonlyMap<string, Resource>;

const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/**
 * What kinds an API server serves, from its aggregated discovery documents (two requests), read
 * when first asked and again after `forget`, or when it is asked for more after `outgrow`.
 */
export class Discovery {
  readonly #client: KubeClient;
  #held: Promise<Served> | undefined;
  #isOutgrown = false;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Drops what is known, because CRDs came or went. */
  forget(): void {
    this.#held = undefined;
    this.#isOutgrown = false;
  }

  /** CRDs came: what is known of a kind stays known; whoever asks for another one, or for all, has it read anew. */
  outgrow(): void {
    this.#isOutgrown = this.#held !== undefined;
  }

  /** The resource of exactly this apiVersion and kind, or undefined when it is not served. */
  async find(
    apiVersion: string,
    kind: string,
    signal?: AbortSignal,
  ): Promise<Resource | undefined> {
    const key = `${apiVersion}/${kind}`;
    const known = this.#isOutgrown ? (await this.#held)?.get(key) : undefined;
    return known ?? (await this.#resources(signal)).get(key);
  }

  /** The resource of this group and kind at the version that the server prefers. */
  async findPreferred(
    group: string,
    kind: string,
    signal?: AbortSignal,
  ): Promise<Resource | undefined> {
    const isMeant = (resource: Resource) => resource.group === group && resource.kind === kind;
    const known = this.#isOutgrown ? (await this.#held)?.values().find(isMeant) : undefined;
    return known ?? (await this.#resources(signal)).values().find(isMeant);
  }

  /** Every kind once, at the version that the server prefers. */
  async all(signal?: AbortSignal): Promise<readonly Resource[]> {
    const kinds = new Map<string, Resource>();
    for (const resource of (await this.#resources(signal)).values()) {
      const kind = `${resource.group}/${resource.kind}`;
      if (!kinds.has(kind)) kinds.set(kind, resource);
    }
    return [...kinds.values()];
  }

  async #resources(signal: AbortSignal | undefined): Promise<Served> {
    if (this.#isOutgrown) this.forget();
    this.#held ??= this.#load(signal);
    try {
      return await this.#held;
    } catch (error) {
      this.#held = undefined;
      throw error;
    }
  }

  async #load(signal: AbortSignal | undefined): Promise<Served> {
    const options = { accept: aggregated, ...(signal === undefined ? {} : { signal }) };
    const [core, groups] = await Promise.all([
      this.#client.text("/api", options),
      this.#client.text("/apis", options),
    ]);
    return shared.of(core, groups);
  }
}

/** Clusters of the same version serve the same kinds: what is read from the same documents is there once. */
class SharedKinds {
  readonly #known = new Map<string, WeakRef<Served>>();
  readonly #gone = new FinalizationRegistry<string>((key) => {
    if (this.#known.get(key)?.deref() === undefined) this.#known.delete(key);
  });

  of(core: string, groups: string): Served {
    const key = sha256Hex(`${sha256Hex(core)}${sha256Hex(groups)}`);
    const known = this.#known.get(key)?.deref();
    if (known !== undefined) return known;
    const served = new Map([...kindsIn("/api", core), ...kindsIn("/apis", groups)]);
    this.#known.set(key, new WeakRef(served));
    this.#gone.register(served, key);
    return served;
  }
}

const shared = new SharedKinds();

/** What a discovery document lists. Throws ApiError. */
function kindsIn(path: string, document: string): readonly (readonly [string, Resource])[] {
  return asList(asMap(read({ method: "GET", path }, document))["items"])
    .map(asMap)
    .flatMap(resourcesOf)
    .map((r) => [`${r.group === "" ? r.version : `${r.group}/${r.version}`}/${r.kind}`, r]);
}

/** One APIGroupDiscovery; versions come in the server's order of preference. */
function resourcesOf(group: JsonMap): readonly Resource[] {
  const groupName = asString(asMap(group["metadata"])["name"]) ?? "";
  return asList(group["versions"])
    .map(asMap)
    .flatMap((v) =>
      asList(v["resources"])
        .map(asMap)
        .filter(isManageable)
        .map((r) => ({
          group: groupName,
          version: asString(v["version"]) ?? "",
          kind: asString(asMap(r["responseKind"])["kind"]) ?? "",
          plural: asString(r["resource"]) ?? "",
          namespaced: r["scope"] === "Namespaced",
        })),
    );
}

/** Kinds that can be applied and listed; others (TokenReview) are no objects that one could keep. */
function isManageable(resource: JsonMap): boolean {
  const verbs = new Set(asList(resource["verbs"]));
  return verbs.has("list") && verbs.has("patch");
}
