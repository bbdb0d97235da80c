import { asList, asMap, asString } from "../json/index.ts";
import type { KubeObject, Resource } from "../object/index.ts";
import type { Problem } from "./step.ts";

/** A CRD that drops a version in which objects are stored. */
export type Migration = {
  readonly definition: KubeObject;
  /** The kind at the version to which its objects are rewritten. */
  readonly resource: Resource;
  readonly dropped: ReadonlySet<string>;
};

/**
 * What must happen before a CRD that is there is applied as wanted. Undefined: nothing. A CRD without
 * the version in which objects are written now would lose them: DowngradeRefused.
 */
export function planDefinition(
  live: KubeObject,
  wanted: KubeObject,
): Migration | { readonly problem: Problem } | undefined {
  const older = olderFlux(live, wanted);
  if (older !== undefined) return { problem: { code: "DowngradeRefused", message: older } };
  const defined = new Set(versionsOf(wanted).map((version) => asString(version["name"])));
  const stored = asList(asMap(live["status"])["storedVersions"]).filter(
    (v) => typeof v === "string",
  );
  const dropped = new Set(stored.filter((version) => !defined.has(version)));
  if (dropped.size === 0) return undefined;
  const storage = asString(versionsOf(live).find((v) => v["storage"] === true)?.["name"]) ?? "";
  if (!defined.has(storage)) {
    const message = `CustomResourceDefinition/${live.metadata.name} stores objects at ${storage}, which the layer does not define any more: a downgrade would lose them`;
    return { problem: { code: "DowngradeRefused", message } };
  }
  return { definition: live, resource: resourceOf(live, storage), dropped };
}

/** Flux does not support going back to an earlier minor version, as its own operator does not. */
function olderFlux(live: KubeObject, wanted: KubeObject): string | undefined {
  const [from, to] = [live, wanted].map(({ metadata: { labels = {} } }) =>
    labels["app.kubernetes.io/part-of"] === "flux"
      ? labels["app.kubernetes.io/version"]
      : undefined,
  );
  const [before, after] = [minorOf(from), minorOf(to)];
  if (before === undefined || after === undefined || after >= before) return undefined;
  return `the cluster runs Flux ${from ?? ""} and the layer has ${to ?? ""}: Flux cannot go back to an earlier minor version`;
}

/** 2009 for v2.9.4; undefined for what is no version. */
function minorOf(version: string | undefined): number | undefined {
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(version ?? "") ?? [];
  return major === undefined || minor === undefined
    ? undefined
    : Number(major) * 1000 + Number(minor);
}

const versionsOf = (definition: KubeObject) =>
  asList(asMap(definition["spec"])["versions"]).map(asMap);

function resourceOf(definition: KubeObject, version: string): Resource {
  const spec = asMap(definition["spec"]);
  const names = asMap(spec["names"]);
  return {
    group: asString(spec["group"]) ?? "",
    version,
    kind: asString(names["kind"]) ?? "",
    plural: asString(names["plural"]) ?? "",
    namespaced: spec["scope"] !== "Cluster",
  };
}
