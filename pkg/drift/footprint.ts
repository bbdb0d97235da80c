import { asList, asMap, canonicalJson, sha256Hex } from "../json/index.ts";
import { ownEntry, ownershipOf, type ManagedField, type ObjectMeta } from "../object/index.ts";

/**
 * What is remembered of an object in order to tell, from metadata alone, whether somebody has
 * written it since. `fieldsV1` holds paths, neither values nor order, so `own` alone is not enough.
 */
export type Footprint = {
  readonly uid: string;
  readonly version: string;
  readonly generation: number | undefined;
  /** Our ownership entry, its time included; "" when there is none. */
  readonly own: string;
  /** All other entries except those of status. */
  readonly main: string;
  /** Our labels, annotations, finalizers and owner references, by value. */
  readonly meta: string;
  /** Whether writes of status can be told from others: the kind has a generation, or a status entry. */
  readonly tellsStatus: boolean;
};

/** `same`: not written. `status`: only its status was. `verify`: a write that cannot be explained. `repair`: ours are gone. */
export type Difference = "same" | "status" | "verify" | "repair";

/** The footprint of an object as the API server shows it. */
export function footprintOf(metadata: ObjectMeta): Footprint {
  const entries = metadata.managedFields ?? [];
  const mine = ownEntry(metadata);
  const others = entries.filter((entry) => entry !== mine && entry.subresource !== "status");
  return {
    uid: metadata.uid ?? "",
    version: metadata.resourceVersion ?? "",
    generation: metadata.generation,
    own: ownershipOf(metadata),
    main: digest(others),
    meta: digest(ourMetadata(metadata, mine)),
    tellsStatus:
      metadata.generation !== undefined || entries.some((entry) => entry.subresource === "status"),
  };
}

/** What happened between two footprints of one object. */
export function compareFootprints(known: Footprint, now: Footprint): Difference {
  if (known.uid !== now.uid || known.own !== now.own || now.own === "") return "repair";
  if (known.version === now.version) return "same";
  const explained =
    known.generation === now.generation &&
    known.main === now.main &&
    known.meta === now.meta &&
    now.tellsStatus &&
    !isOlder(now.version, known.version);
  return explained ? "status" : "verify";
}

/** Whether one resourceVersion is below another, as after a restore. */
export function isOlder(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.length < b.length;
}

const digest = (value: unknown) => sha256Hex(canonicalJson(value)).slice(0, 16);

function ourMetadata(metadata: ObjectMeta, mine: ManagedField | undefined): unknown {
  const fields = asMap(asMap(mine?.fieldsV1)["f:metadata"]);
  const values = (field: string, from: Readonly<Record<string, string>> | undefined) =>
    Object.keys(asMap(fields[field]))
      .filter((key) => key.startsWith("f:"))
      .map((key) => [key, from?.[key.slice(2)] ?? null]);
  const listed = (field: string, from: readonly unknown[] | undefined) =>
    fields[field] === undefined ? [] : asList(from);
  return [
    values("f:labels", metadata.labels),
    values("f:annotations", metadata.annotations),
    listed("f:finalizers", metadata.finalizers),
    listed("f:ownerReferences", metadata.ownerReferences),
  ];
}
