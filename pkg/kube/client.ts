import { asList, asMap, asString, encodeJson, parseJson, type Json } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";
import { ApiError, isNotFound } from "./api-error.ts";
import type { ConnectionConfig } from "../kubeconfig/index.ts";
import { type Resource } from "../object/index.ts";
import { Transport, type Call } from "./transport.ts";
import { resourcePath } from "./path.ts";
import { decodeWatch, type WatchEvent } from "./watch.ts";

const metadataOnlyObject = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const metadataOnlyList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/** A watch that sends first what is there, as of now (KEP-3157). */
const fromTheBeginning = { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" };
const pageSize = 500;
/** A list of more pages is no honest server's. */
const pagesMax = 1_000;
/** Nor is one of more objects. */
export const objectsMax = pagesMax * pageSize;

export type ListOptions = {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Only `metadata` of each object: the reply is a tenth of the size. */
  readonly metadataOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type ListResult = {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
};

/** `created` is true when the server answered 201: the object did not exist before. */
export type ApplyResult = { readonly object: KubeObject; readonly created: boolean };

type Answer = { readonly status: number; readonly json: Json };
type Named = { readonly namespace?: string | undefined; readonly name: string };
type Signal = { readonly signal?: AbortSignal | undefined };

/**
 * A client of one API server, under a name that its audit log shows. `mayWrite` is asked right before
 * each write is sent; a leader that was paused must not go on. Nothing is sent before the first call.
 */
export function connect(
  config: ConnectionConfig,
  userAgent = "capitan",
  mayWrite: () => boolean = () => true,
): KubeClient {
  return new KubeClient(new Transport(config, { userAgent, mayWrite }));
}

/** Requests to one API server. Every method throws ApiError. */
export class KubeClient {
  readonly #transport: Transport;
  readonly #user: string | undefined;

  constructor(transport: Transport, user?: string) {
    this.#transport = transport;
    this.#user = user;
  }

  /** The same API server and connection, asked as this user; undefined for who connected. */
  as(user: string | undefined): KubeClient {
    return new KubeClient(this.#transport, user);
  }

  /** Ends all connections; calls and watches in flight fail. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  /** A read of anything, as JSON: /version, /apis. */
  async raw(path: string, options: Signal & { accept?: string } = {}): Promise<unknown> {
    const body = await this.text(path, options);
    return body.startsWith("{") ? read({ method: "GET", path }, body) : body;
  }

  /** A read of anything, as it was sent. */
  async text(path: string, options: Signal & { accept?: string } = {}): Promise<string> {
    const call = { method: "GET", path, ...options, as: this.#user } as const;
    return (await this.#transport.call(call)).body;
  }

  /** The object from a quorum read, or undefined when the server says that it does not exist. */
  async get(
    resource: Resource,
    { namespace, name }: Named,
    options: Signal & { metadataOnly?: boolean } = {},
  ): Promise<KubeObject | undefined> {
    const path = resourcePath(resource, namespace, name);
    const accept = options.metadataOnly === true ? metadataOnlyObject : "application/json";
    const { signal } = options;
    const reply = await this.#call({ method: "GET", path, accept, signal, mayBeMissing: true });
    return reply.status === 404 ? undefined : toObject(reply);
  }

  /** All objects, page by page. A page whose continue token has expired (410) fails the list; nothing partial is returned. */
  async list(resource: Resource, options: ListOptions = {}): Promise<ListResult> {
    const list = await this.#pages(resource, objectsMax, options);
    if (list !== undefined) return list;
    throw new ApiError(`LIST ${resource.plural}`, `more than ${pagesMax} pages`, { status: 0 });
  }

  /** All objects, or undefined when there are more than `most`. */
  async listFew(
    resource: Resource,
    most: number,
    options: ListOptions = {},
  ): Promise<readonly KubeObject[] | undefined> {
    return (await this.#pages(resource, most, options))?.items;
  }

  /** A server may make pages smaller than it was asked to, but not for ever. */
  async #pages(
    resource: Resource,
    most: number,
    options: ListOptions,
  ): Promise<ListResult | undefined> {
    const items: KubeObject[] = [];
    const pages = 1 + Math.ceil(most / pageSize);
    let token: string | undefined;
    for (let page = 0; page < pages && items.length < most; page++) {
      const limit = Math.min(pageSize, most - items.length);
      const found = await this.#page(resource, options, { limit, continue: token });
      for (const item of found.items) items.push(item);
      token = found.continue;
      if (token === "") return { items, resourceVersion: found.resourceVersion };
    }
    return undefined;
  }

  async #page(
    resource: Resource,
    options: ListOptions,
    part: { readonly limit: number; readonly continue: string | undefined },
  ): Promise<ListResult & { readonly continue: string }> {
    const { json } = await this.#call({
      method: "GET",
      path: resourcePath(resource, options.namespace),
      accept: options.metadataOnly === true ? metadataOnlyList : "application/json",
      query: {
        limit: String(part.limit),
        continue: part.continue,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
      },
      signal: options.signal,
    });
    const list = asMap(json);
    const metadata = asMap(list["metadata"]);
    return {
      items: asList(list["items"]).map((item) => withKind(item, resource)),
      resourceVersion: asString(metadata["resourceVersion"]) ?? "",
      continue: asString(metadata["continue"]) ?? "",
    };
  }

  /** The version at which the API server is now, for objects of this kind. */
  async version(resource: Resource, { namespace, signal }: ListOptions = {}): Promise<string> {
    const { json } = await this.#call({
      method: "GET",
      path: resourcePath(resource, namespace),
      accept: metadataOnlyList,
      query: { limit: "1" },
      signal,
    });
    return asString(asMap(asMap(json)["metadata"])["resourceVersion"]) ?? "";
  }

  /**
   * Events after `resourceVersion`, bookmarks included; without one, first all that is there, as ADDED, and a bookmark
   * with `isInitialEnd`. Ends when the server ends it; throws after `idleMs` of silence.
   */
  async *watch(
    resource: Resource,
    options: ListOptions & { resourceVersion?: string; idleMs: number; timeoutSeconds: number },
  ): AsyncGenerator<WatchEvent> {
    const { resourceVersion } = options;
    const stream = await this.#transport.stream(
      {
        as: this.#user,
        method: "GET",
        path: resourcePath(resource, options.namespace),
        accept: options.metadataOnly === true ? metadataOnlyObject : "application/json",
        query: {
          watch: "true",
          allowWatchBookmarks: "true",
          ...(resourceVersion === undefined ? fromTheBeginning : { resourceVersion }),
          timeoutSeconds: String(options.timeoutSeconds),
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
        },
        signal: options.signal,
      },
      options.idleMs,
    );
    yield* decodeWatch(stream, resource);
  }

  /** Server-side apply with force. `metadataOnly` halves the reply. */
  async apply(
    resource: Resource,
    object: KubeObject,
    options: Signal & {
      manager: string;
      metadataOnly?: boolean;
      subresource?: string;
      /** Nothing is stored; the reply is what would have been. */
      dryRun?: boolean;
      /** `Ignore`: the API server does not parse the object a second time, for warnings that nobody here reads. */
      fieldValidation?: "Ignore";
    },
  ): Promise<ApplyResult> {
    const { namespace, name } = object.metadata;
    const reply = await this.#call({
      method: "PATCH",
      path: resourcePath(resource, namespace, name, options.subresource),
      query: {
        fieldManager: options.manager,
        force: "true",
        dryRun: options.dryRun === true ? "All" : undefined,
        fieldValidation: options.fieldValidation,
      },
      accept: options.metadataOnly === true ? metadataOnlyObject : "application/json",
      contentType: "application/apply-patch+yaml",
      body: encodeJson(object),
      signal: options.signal,
    });
    return { object: withKind(reply.json, resource), created: reply.status === 201 };
  }

  /** Creates; 409 AlreadyExists when it is there. `subresource` for instance `token`. */
  async create(
    resource: Resource,
    object: KubeObject,
    options: Signal & { subresource?: string; dryRun?: boolean } = {},
  ): Promise<KubeObject> {
    const { namespace, name } = object.metadata;
    const path = resourcePath(
      resource,
      namespace,
      options.subresource === undefined ? undefined : name,
      options.subresource,
    );
    return this.#write("POST", path, object, options);
  }

  /** Replaces; with metadata.resourceVersion set, 409 Conflict when somebody else was faster. */
  async replace(
    resource: Resource,
    object: KubeObject,
    options: Signal & { metadataOnly?: boolean; dryRun?: boolean } = {},
  ): Promise<KubeObject> {
    const path = resourcePath(resource, object.metadata.namespace, object.metadata.name);
    return this.#write("PUT", path, object, options);
  }

  /** JSON merge patch (RFC 7386). */
  async mergePatch(
    resource: Resource,
    { namespace, name }: Named,
    patch: object,
    options: Signal & { subresource?: string; metadataOnly?: boolean; manager?: string } = {},
  ): Promise<KubeObject> {
    const path = resourcePath(resource, namespace, name, options.subresource);
    const reply = await this.#call({
      method: "PATCH",
      path,
      query: { fieldManager: options.manager },
      accept: options.metadataOnly === true ? metadataOnlyObject : "application/json",
      contentType: "application/merge-patch+json",
      body: encodeJson(patch),
      signal: options.signal,
    });
    return toObject(reply);
  }

  /**
   * Deletes exactly the object that was read: uid and resourceVersion are preconditions (409 when
   * it changed since). True when it is gone already; false when it is only marked, because
   * finalizers hold it.
   */
  async delete(resource: Resource, live: KubeObject, options: Signal = {}): Promise<boolean> {
    const { namespace, name, uid, resourceVersion } = live.metadata;
    const body = encodeJson({
      apiVersion: "v1",
      kind: "DeleteOptions",
      propagationPolicy: "Background",
      preconditions: { uid, resourceVersion },
    });
    try {
      const reply = await this.#call({
        method: "DELETE",
        path: resourcePath(resource, namespace, name),
        contentType: "application/json",
        body,
        signal: options.signal,
      });
      if (asMap(reply.json)["kind"] === "Status") return true;
      return (
        (await this.get(resource, live.metadata, { ...options, metadataOnly: true })) === undefined
      );
    } catch (error) {
      if (isNotFound(error)) return true;
      throw error;
    }
  }

  async #call(call: Call): Promise<Answer> {
    const { status, body } = await this.#transport.call({ ...call, as: this.#user });
    return { status, json: read(call, body) };
  }

  async #write(
    method: "POST" | "PUT",
    path: string,
    object: KubeObject,
    { signal, metadataOnly, dryRun }: Signal & { metadataOnly?: boolean; dryRun?: boolean },
  ): Promise<KubeObject> {
    return toObject(
      await this.#call({
        method,
        path,
        query: { dryRun: dryRun === true ? "All" : undefined },
        accept: metadataOnly === true ? metadataOnlyObject : "application/json",
        contentType: "application/json",
        body: encodeJson(object),
        signal,
      }),
    );
  }
}

/** What a reply says. What makes it unreadable stays unsaid: it may be part of a Secret. */
export function read({ method, path }: Pick<Call, "method" | "path">, body: string): Json {
  try {
    return parseJson(body);
  } catch {
    const facts = { status: 0, reason: "NotJson" };
    throw new ApiError(`${method} ${path}`, "the reply is no JSON", facts);
  }
}

function toObject({ json }: Answer): KubeObject {
  return json as unknown as KubeObject;
}

/** Items of a list and metadata-only replies do not say their own kind; we know it. */
function withKind(item: unknown, { group, version, kind }: Resource): KubeObject {
  const apiVersion = group === "" ? version : `${group}/${version}`;
  return { ...(item as KubeObject), apiVersion, kind };
}
