import {
  isScalar,
  LineCounter,
  parseAllDocuments,
  visit,
  type Document,
  type ScalarTag,
  type Tags,
  type YAMLMap,
} from "yaml";
import { CapitanError } from "../errors/index.ts";
import { isJsonMap, type Json, type JsonMap } from "../json/index.ts";
import { type KubeObject } from "./types.ts";

/** More documents than this in one file are refused. */
const documentsMax = 20_000;
/** Looking up an alias goes through the document from its beginning: so many steps at most. */
const aliasStepsMax = 10_000_000;

/**
 * Reads the Kubernetes objects of one YAML or JSON file, with the scalars that kubectl and Flux
 * read (`sigs.k8s.io/yaml`: `on` is true, `0777` is 511). A `List` is flattened, empty documents are
 * skipped. `file` is only for messages. Throws ManifestInvalid with file and line, never with content.
 */
export function parseManifests(text: string, file: string): readonly KubeObject[] {
  return parseDocuments(text, file).flatMap(({ value, where }) =>
    value === null ? [] : flatten(value, where),
  );
}

/** Reads a file of exactly one YAML document, by the same rules. Throws ManifestInvalid. */
export function parseYaml(text: string, file: string): Json {
  const documents = parseDocuments(text, file);
  const [first] = documents;
  if (first === undefined || documents.length !== 1) {
    throw new CapitanError("ManifestInvalid", `${file}: expected one YAML document`);
  }
  return first.value;
}

type Parsed = { readonly value: Json; readonly where: string };

function parseDocuments(text: string, file: string): readonly Parsed[] {
  refuseManyDocuments(text, file);
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter,
    schema: "yaml-1.1",
    customTags: kubernetesTags,
    merge: true,
    // The library compares each key with each other; `refuseDoubleKeys` needs one look at each.
    uniqueKeys: false,
    intAsBigInt: true,
    prettyErrors: false,
    stringKeys: false,
  });
  if (!Array.isArray(documents)) return [];
  return documents.map((document) => {
    const [start = 0] = document.contents?.range ?? [];
    const where = `${file}:${lineCounter.linePos(start).line || 1}`;
    return { value: toJson(document, lineCounter, file, where), where };
  });
}

/** Before anything is parsed: of a million empty documents the library makes half a minute. */
function refuseManyDocuments(text: string, file: string): void {
  let documents = 0;
  for (const _ of text.matchAll(/^(?:---|\.\.\.)/gm)) documents += 1;
  if (documents > documentsMax)
    throw new CapitanError("ManifestInvalid", `${file}: more than ${documentsMax} documents`);
}

function toJson(document: Document.Parsed, lines: LineCounter, file: string, where: string): Json {
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    const line = lines.linePos(problem.pos[0]).line;
    throw new CapitanError("ManifestInvalid", `${file}:${line}: ${problem.code}: not valid YAML`);
  }
  refuseDoubleKeys(document, lines, file);
  refuseManyAliases(document, where);
  try {
    return plainNumbers(document.toJS({ maxAliasCount: 100 }) as Json, where);
  } catch (error) {
    if (error instanceof CapitanError) throw error;
    // The library's words quote what it found, and that may be a secret.
    const what = "an alias without its anchor, or too many of them";
    throw new CapitanError("ManifestInvalid", `${where}: ${what}`);
  }
}

function refuseDoubleKeys(document: Document.Parsed, lines: LineCounter, file: string): void {
  visit(document, {
    Map: (_key, map: YAMLMap) => {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const value: unknown = isScalar(key) ? key.value : key;
        if (seen.has(value) && value !== "<<") {
          const line = isScalar(key) ? lines.linePos(key.range?.[0] ?? 0).line : 0;
          throw new CapitanError(
            "ManifestInvalid",
            `${file}:${line}: a key appears twice in one map`,
          );
        }
        seen.add(value);
      }
    },
  });
}

function refuseManyAliases(document: Document.Parsed, where: string): void {
  let [aliases, nodes] = [0, 0];
  visit(document, {
    Alias: () => void (aliases += 1),
    Node: () => void (nodes += 1),
  });
  if (aliases * nodes > aliasStepsMax)
    throw new CapitanError(
      "ManifestInvalid",
      `${where}: too many aliases for a document of its size`,
    );
}

/** Timestamps and base-60 numbers of YAML 1.1 stay strings for Kubernetes; `0o777` is a number. */
function kubernetesTags(tags: Tags): Tags {
  const dropped = new Set(["TIME"]);
  const kept = tags.filter((tag) => {
    if (typeof tag === "string") return true;
    return (
      tag.tag !== "tag:yaml.org,2002:timestamp" &&
      !dropped.has(("format" in tag && tag.format) || "")
    );
  });
  return [octal, noDigits, ...kept];
}

/** The library takes `.`, `e3` and `0x_` for numbers of YAML 1.1, which are not numbers then. */
const noDigits: ScalarTag = {
  tag: "tag:yaml.org,2002:str",
  default: true,
  test: /^(?:(?=.*[.eE])[-+]?[._]*(?:[eE][-+]?[0-9]+)?|[-+]?0[bx]_+)$/,
  resolve: (text) => text,
};

const octal: ScalarTag = {
  tag: "tag:yaml.org,2002:int",
  default: true,
  test: /^[-+]?0o[0-7]+$/,
  resolve: (text) => BigInt(text.replace(/^[-+]/, "")) * (text.startsWith("-") ? -1n : 1n),
};

function plainNumbers(value: Json, where: string): Json {
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new CapitanError("ManifestInvalid", `${where}: a number is infinite or not a number`);
  }
  if (Array.isArray(value)) return value.map((item: Json) => plainNumbers(item, where));
  if (!isJsonMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k, plainNumbers(v ?? null, where)]),
  );
}

function flatten(value: Json, where: string): readonly KubeObject[] {
  if (isJsonMap(value) && value["kind"] === "List" && Array.isArray(value["items"])) {
    return (value["items"] as readonly Json[]).flatMap((item) => flatten(item, where));
  }
  return [toObject(value, where)];
}

function toObject(value: Json, where: string): KubeObject {
  if (!isJsonMap(value)) throw invalid(where, "is not an object");
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== "string" || apiVersion === "")
    throw invalid(where, "has no apiVersion");
  if (typeof kind !== "string" || kind === "") throw invalid(where, "has no kind");
  if (!isJsonMap(metadata)) throw invalid(where, `is a ${kind} without metadata`);
  checkName(metadata, kind, where);
  return { ...value, apiVersion, kind, metadata: metadata as unknown as KubeObject["metadata"] };
}

const pathSegment = /^[^/%\s]{1,253}$/;

function checkName({ name, namespace }: JsonMap, kind: string, where: string): void {
  if (typeof name !== "string" || !pathSegment.test(name) || name === "." || name === "..") {
    throw invalid(
      where,
      `is a ${kind} without a usable metadata.name (generateName is not supported)`,
    );
  }
  if (
    namespace !== undefined &&
    (typeof namespace !== "string" || !/^[a-z0-9-]{0,63}$/.test(namespace))
  ) {
    throw invalid(where, `is a ${kind} whose metadata.namespace is not a namespace name`);
  }
}

const invalid = (where: string, what: string) =>
  new CapitanError("ManifestInvalid", `${where}: the document ${what}`);
