import { CapitanError } from "../errors/index.ts";
import { asMap, isJsonMap, mergePatch, type Json, type JsonMap } from "../json/index.ts";
import { idOf, nameOf, parseYaml, type KubeObject } from "../object/index.ts";
import { applyOperation, OperationFailed, parseOperation, type Operation } from "./operations.ts";
import { parseTarget, type PatchTarget } from "./target.ts";

/** A patch as it stands in a Fleet: text in YAML or JSON, and which objects it is for. */
export type PatchSpec = { readonly patch: string; readonly target: PatchTarget };

/** A patch that was read. */
export type Patch = {
  /** For messages: `patches[0]`. */
  readonly where: string;
  readonly matches: (object: KubeObject) => boolean;
  readonly change: (object: KubeObject) => Json;
};

/** Characters of one patch, and operations in it. */
const patchCharsMax = 64 * 1024;
const operationsMax = 256;

/** Instructions of strategic merge patches, which a JSON merge patch would take for fields. */
const directive = /^\$(?:patch|retainKeys|setElementOrder|deleteFromPrimitiveList)(?:\/|$)/;

/**
 * Reads patches: a list is a JSON Patch (RFC 6902), a map a JSON merge patch (RFC 7386). `where` is the
 * name of the field. Throws PatchInvalid.
 */
export function parsePatches(specs: readonly PatchSpec[], where: string): readonly Patch[] {
  return specs.map(({ patch, target }, i) => {
    const name = `${where}[${i}]`;
    const matches = parseTarget(target, `${name}.target`);
    return { where: name, matches, change: changeOf(textOf(patch, name), name) };
  });
}

/**
 * Applies patches one after the other, each to the objects that its target matches by then, and says
 * which patches matched nothing. Objects keep their apiVersion, kind, name and namespace.
 * Throws PatchFailed, PatchInvalid, naming patch and object, never a value of the object.
 */
export function applyPatches(
  objects: readonly KubeObject[],
  patches: readonly Patch[],
): { readonly objects: readonly KubeObject[]; readonly unmatched: readonly string[] } {
  const unmatched: string[] = [];
  let current = objects;
  for (const patch of patches) {
    if (!current.some(patch.matches)) unmatched.push(patch.where);
    current = current.map((object) => (patch.matches(object) ? patched(object, patch) : object));
  }
  return { objects: current, unmatched };
}

function textOf(text: string, where: string): Json {
  if (text.length > patchCharsMax)
    throw new CapitanError("PatchInvalid", `${where} has more than ${patchCharsMax} characters`);
  try {
    return parseYaml(text, where);
  } catch (error) {
    throw new CapitanError("PatchInvalid", `${where} is not one document of YAML`, {
      cause: error,
    });
  }
}

function changeOf(content: Json, where: string): Patch["change"] {
  if (Array.isArray(content)) {
    const operations = operationsOf(content as readonly Json[], where);
    return (object) => operated(object, operations);
  }
  if (!isJsonMap(content))
    throw new CapitanError("PatchInvalid", `${where} is neither a list of operations nor a map`);
  refuseDirectives(content, where);
  return (object) => merged(object, content);
}

function operationsOf(list: readonly Json[], where: string): readonly Operation[] {
  if (list.length > operationsMax)
    throw new CapitanError("PatchInvalid", `${where} has more than ${operationsMax} operations`);
  return list.map((item, i) => {
    const operation = parseOperation(item);
    if (typeof operation !== "string") return operation;
    throw new CapitanError("PatchInvalid", `${where}: operation ${i} ${operation}`);
  });
}

function refuseDirectives(value: Json, where: string): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, field] of Object.entries(value)) {
    if (directive.test(key)) {
      const what = `${where}: ${key} belongs to strategic merge patches, which are not there`;
      throw new CapitanError("PatchInvalid", `${what}: write JSON6902 operations`);
    }
    refuseDirectives(field as Json, where);
  }
}

function patched(object: KubeObject, { where, change }: Patch): KubeObject {
  const name = nameOf(idOf(object));
  try {
    return sameObject(object, change(object));
  } catch (error) {
    if (!(error instanceof OperationFailed)) throw error;
    throw new CapitanError("PatchFailed", `${where}: ${name}: ${error.message}`);
  }
}

function operated(object: KubeObject, operations: readonly Operation[]): Json {
  return operations.reduce<Json>(
    (document, operation, i) => {
      try {
        return applyOperation(document, operation);
      } catch (error) {
        if (!(error instanceof OperationFailed)) throw error;
        throw new OperationFailed(`operation ${i} (${operation.text}): ${error.message}`);
      }
    },
    object as unknown as JsonMap,
  );
}

/** What a merge patch says of the identity is left out, as kustomize does when there is a target. */
function merged(object: KubeObject, patch: JsonMap): Json {
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = patch;
  const { name: _name, namespace: _namespace, ...metadata } = asMap(patch["metadata"]);
  return mergePatch(object as unknown as JsonMap, { ...rest, metadata });
}

/** The result as an object, when it is still the same one. */
function sameObject(object: KubeObject, result: Json): KubeObject {
  const { apiVersion, kind, metadata } = asMap(result);
  const { name, namespace } = asMap(metadata);
  const isSame =
    apiVersion === object.apiVersion &&
    kind === object.kind &&
    name === object.metadata.name &&
    namespace === object.metadata.namespace;
  if (isSame) return result as unknown as KubeObject;
  throw new OperationFailed("a patch may not change apiVersion, kind, name or namespace");
}
