import { asMap, asString } from "../json/index.ts";
import { groupOf, versionOf, type KubeObject } from "../object/index.ts";
import { Discovery, type KubeClient } from "../kube/index.ts";
import { type Resource } from "../object/index.ts";

const definitionKind = "CustomResourceDefinition";

/** The kinds of a cluster: those it serves, and those that the CRDs we are about to apply will define. */
export class Kinds {
  readonly #discovery: Discovery;
  #coming = new Map<string, Resource>();

  constructor(client: KubeClient) {
    this.#discovery = new Discovery(client);
  }

  /** Reads anew what is served, when it is next asked for. */
  forget(): void {
    this.#discovery.forget();
  }

  /** CRDs came: only a kind that was not there before is looked for anew. */
  outgrow(): void {
    this.#discovery.outgrow();
  }

  /** Takes note of the CRDs among these objects, in place of those noted before. */
  expect(objects: readonly KubeObject[]): void {
    const resources = objects.filter((o) => o.kind === definitionKind).flatMap(definedBy);
    this.#coming = new Map(resources.map((r) => [`${r.group}/${r.version}/${r.kind}`, r]));
  }

  /** The resource of this apiVersion and kind, served or coming; undefined when neither. */
  async find(apiVersion: string, kind: string, signal: AbortSignal): Promise<Resource | undefined> {
    return (
      (await this.#discovery.find(apiVersion, kind, signal)) ??
      this.#coming.get(`${groupOf(apiVersion)}/${versionOf(apiVersion)}/${kind}`)
    );
  }

  /** The resource of this apiVersion and kind as far as it is served now. */
  findServedAt(
    apiVersion: string,
    kind: string,
    signal: AbortSignal,
  ): Promise<Resource | undefined> {
    return this.#discovery.find(apiVersion, kind, signal);
  }

  /** The served resource of this group and kind, at whatever version. */
  findServed(group: string, kind: string, signal: AbortSignal): Promise<Resource | undefined> {
    return this.#discovery.findPreferred(group, kind, signal);
  }

  /** Every kind that is served and can be listed and applied, each at the version that the server prefers. */
  all(signal: AbortSignal): Promise<readonly Resource[]> {
    return this.#discovery.all(signal);
  }
}

function definedBy(definition: KubeObject): readonly Resource[] {
  const spec = asMap(definition["spec"]);
  const names = asMap(spec["names"]);
  const versions = Array.isArray(spec["versions"]) ? (spec["versions"] as readonly unknown[]) : [];
  return versions.map((item) => ({
    group: asString(spec["group"]) ?? "",
    version: asString(asMap(item)["name"]) ?? "",
    kind: asString(names["kind"]) ?? "",
    plural: asString(names["plural"]) ?? "",
    namespaced: spec["scope"] !== "Cluster",
  }));
}
