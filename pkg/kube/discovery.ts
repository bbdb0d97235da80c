import { asList, asMap, asString, type JsonMap } from "../json/index.ts";
import type { KubeClient } from "./client.ts";
import type { Resource } from "../object/index.ts";

const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/**
 * What kinds an API server serves, from its aggregated discovery documents (two requests), read
 * when first asked and again after `forget`, or when it is asked for more after `outgrow`.
 */
export class Discovery {
  readonly #client: KubeClient;
  #held: Promise<Map<string, Resource>> | undefined;
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

  async #resources(signal: AbortSignal | undefined): Promise<Map<string, Resource>> {
    if (this.#isOutgrown) this.forget();
    this.#held ??= this.#load(signal);
    try {
      return await this.#held;
    } catch (error) {
      this.#held = undefined;
      throw error;
    }
  }

  async #load(signal: AbortSignal | undefined): Promise<Map<string, Resource>> {
    const options = { accept: aggregated, ...(signal === undefined ? {} : { signal }) };
    const [core, groups] = await Promise.all([
      this.#client.raw("/api", options),
      this.#client.raw("/apis", options),
    ]);
    const resources = [core, groups].flatMap((doc) =>
      asList(asMap(doc)["items"]).map(asMap).flatMap(resourcesOf),
    );
    const entries = resources.map(
      (r) => [`${r.group === "" ? r.version : `${r.group}/${r.version}`}/${r.kind}`, r] as const,
    );
    return new Map(entries);
  }
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
