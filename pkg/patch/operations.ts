import { asString, canonicalJson, isJsonMap, type Json, type JsonMap } from "../json/index.ts";
import {
  edited,
  indexOf,
  parsePointer,
  valueAt,
  withField,
  withoutField,
  type Edit,
} from "./pointer.ts";

type Steps = readonly string[];

/** One operation of a JSON Patch (RFC 6902), its pointers read. `text` is for messages. */
export type Operation = { readonly text: string; readonly path: Steps } & (
  | { readonly op: "add" | "replace" | "test"; readonly value: Json }
  | { readonly op: "remove" }
  | { readonly op: "move" | "copy"; readonly from: Steps }
);

/** Why an operation cannot be done; the caller knows where. */
export class OperationFailed extends Error {}

/** Maps, lists and scalars that a document may have after a copy: copies of copies double each time. */
const nodesMax = 200_000;

/** Reads one operation. Gives what is wrong with it, when something is. */
export function parseOperation(value: Json): Operation | string {
  if (!isJsonMap(value)) return "is no map";
  const pointer = asString(value["path"]);
  if (pointer === undefined) return "has no path";
  const path = parsePointer(pointer);
  if (path === undefined) return "has a path that does not begin with / (or has a bad ~)";
  const op = asString(value["op"]) ?? "";
  return withContent(op, { path, text: `${op.slice(0, 10)} ${pointer.slice(0, 200)}` }, value);
}

type Common = { readonly path: Steps; readonly text: string };

function withContent(op: string, common: Common, content: JsonMap): Operation | string {
  const { value } = content;
  switch (op) {
    case "remove":
      return { op, ...common };
    case "add":
    case "replace":
    case "test":
      return value === undefined ? `(${common.text}) has no value` : { op, ...common, value };
    case "move":
    case "copy":
      return moved(op, common, asString(content["from"]));
    default:
      return "has an op that is none of add, remove, replace, move, copy, test";
  }
}

function moved(op: "move" | "copy", common: Common, pointer = "-"): Operation | string {
  const from = parsePointer(pointer);
  if (from === undefined) return `(${common.text}) has no usable from`;
  const isInside = common.path.length > from.length && from.every((s, i) => s === common.path[i]);
  if (op === "move" && isInside) return `(${common.text}) moves something into itself`;
  return { op, ...common, from };
}

/** The document after one operation; the given one is not changed. Throws OperationFailed. */
export function applyOperation(document: Json, operation: Operation): Json {
  const { path } = operation;
  switch (operation.op) {
    case "add":
      return added(document, path, operation.value);
    case "remove":
      return removed(document, path);
    case "replace":
      return replaced(document, path, operation.value);
    case "test":
      if (canonicalJson(found(document, path)) === canonicalJson(operation.value)) return document;
      throw new OperationFailed("the test fails: there is another value");
    case "move": {
      const value = found(document, operation.from);
      return added(removed(document, operation.from), path, value);
    }
    case "copy":
      return limited(added(document, path, found(document, operation.from)));
  }
}

function found(document: Json, path: Steps): Json {
  const value = valueAt(document, path);
  if (value === undefined) throw new OperationFailed("there is no such path");
  return value;
}

function added(document: Json, path: Steps, value: Json): Json {
  if (path.length === 0) return value;
  return changed(document, path, {
    inMap: (map, key) => withField(map, key, value),
    inList: (list, step) => {
      const index = step === "-" ? list.length : indexOf(step, list.length);
      return index < 0 ? undefined : list.toSpliced(index, 0, value);
    },
  });
}

function removed(document: Json, path: Steps): Json {
  return changed(document, path, {
    inMap: (map, key) => (Object.hasOwn(map, key) ? withoutField(map, key) : undefined),
    inList: (list, step) => {
      const index = indexOf(step, list.length - 1);
      return index < 0 ? undefined : list.toSpliced(index, 1);
    },
  });
}

function replaced(document: Json, path: Steps, value: Json): Json {
  if (path.length === 0) return value;
  return changed(document, path, {
    inMap: (map, key) => (Object.hasOwn(map, key) ? withField(map, key, value) : undefined),
    inList: (list, step) => {
      const index = indexOf(step, list.length - 1);
      return index < 0 ? undefined : list.with(index, value);
    },
  });
}

function changed(document: Json, path: Steps, edit: Edit): Json {
  const result = path.length === 0 ? undefined : edited(document, path, edit);
  if (result === undefined) throw new OperationFailed("there is no such path");
  return result;
}

/** Counts what would be written, not what is held: copies share their parts. */
function limited(document: Json): Json {
  let nodes = 0;
  const count = (value: unknown): void => {
    nodes += 1;
    if (nodes > nodesMax) throw new OperationFailed(`the object has more than ${nodesMax} parts`);
    if (typeof value === "object" && value !== null)
      for (const part of Object.values(value)) count(part);
  };
  count(document);
  return document;
}
