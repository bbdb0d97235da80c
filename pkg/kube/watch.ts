import { CapitanError } from "../errors/index.ts";
import { asMap, asNumber, asString, parseJson, type JsonMap } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";
import { ApiError } from "./api-error.ts";
import type { Resource } from "../object/index.ts";

export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject }
  | {
      readonly type: "BOOKMARK";
      readonly resourceVersion: string;
      /** Everything that was there when the watch began has been sent. */
      readonly isInitialEnd: boolean;
    };

/** A single event longer than this ends the watch: etcd does not store objects of this size. */
const lineBytesMax = 16 * 1024 * 1024;

/**
 * Decodes the newline-delimited JSON of a watch. A line that cannot be read throws instead of being
 * skipped: an event would be lost for good otherwise. An ERROR event throws ApiError with its code.
 */
export async function* decodeWatch(
  stream: AsyncIterable<Buffer>,
  resource: Resource,
): AsyncGenerator<WatchEvent> {
  for await (const line of lines(stream)) yield decodeEvent(line, resource);
}

async function* lines(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...rest, chunk.subarray(start, end)]).toString("utf8");
      rest = [];
      bytes = 0;
      start = end + 1;
      if (line !== "") yield line;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > lineBytesMax)
      throw new CapitanError("Unreachable", `a watch event exceeds ${lineBytesMax} bytes`);
  }
  if (rest.length > 0)
    throw new ApiError("watch", "ended in the middle of an event", {
      status: 0,
      reason: "CutLine",
    });
}

function decodeEvent(line: string, resource: Resource): WatchEvent {
  const { type, object } = parseEvent(line);
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return { type, object: objectOf(object, resource) };
    case "BOOKMARK":
      return bookmarkOf(asMap(object["metadata"]));
    case "ERROR":
      throw errorEvent(object, resource);
    default:
      throw poison();
  }
}

function bookmarkOf({ resourceVersion, annotations }: JsonMap): WatchEvent {
  return {
    type: "BOOKMARK",
    resourceVersion: asString(resourceVersion) ?? "",
    isInitialEnd: asMap(annotations)["k8s.io/initial-events-end"] === "true",
  };
}

function objectOf(object: JsonMap, { group, version, kind }: Resource): KubeObject {
  const metadata = asMap(object["metadata"]);
  if (asString(metadata["name"]) === undefined) throw poison();
  const apiVersion = group === "" ? version : `${group}/${version}`;
  const meta = metadata as unknown as KubeObject["metadata"];
  return { ...object, apiVersion, kind, metadata: meta };
}

function errorEvent(object: JsonMap, { kind }: Resource): ApiError {
  const status = asNumber(object["code"]) ?? 500;
  const reason = asString(object["reason"]) ?? "";
  return new ApiError(`watch ${kind}`, asString(object["message"]) ?? "error", { status, reason });
}

function parseEvent(line: string): { type: string; object: JsonMap } {
  try {
    const event = asMap(parseJson(line));
    return { type: asString(event["type"]) ?? "", object: asMap(event["object"]) };
  } catch (error) {
    throw error instanceof SyntaxError ? poison() : error;
  }
}

const poison = () =>
  new ApiError("watch", "an event cannot be read", { status: 0, reason: "PoisonEvent" });
