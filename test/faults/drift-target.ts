// What the table of drift is made of: a case, a foreign writer, the object in his hands, and objects
// for layers. The foreign writers are imitated with the verbs that they use.
import { isDeepStrictEqual } from "node:util";
import { Agent, request } from "undici";
import type { Code } from "../../pkg/errors/index.ts";
import { asList, asMap, asString, isJsonMap, parseJson } from "../../pkg/json/index.ts";
import type { ConnectionConfig } from "../../pkg/kubeconfig/index.ts";
import { ownEntry, type KubeObject, type ManagedField } from "../../pkg/object/index.ts";
import { until } from "../harness/index.ts";

/** `repaired`: what we declare is back. `untouched`: what the other did stays. `unseen`: nothing tells of it. */
export type Want = "repaired" | "untouched" | "unseen" | `reported:${Code}`;

export type Case = {
  /** The row of the reference. */
  readonly row: string;
  /** The objects of the layer; the first one is acted upon. */
  readonly objects: (name: string) => readonly KubeObject[];
  readonly act: (target: Target) => Promise<unknown>;
  readonly want: Want;
  /** Done before the Fleet is applied. */
  readonly prepare?: (api: Foreigner, name: string) => Promise<void>;
  /** When it is repaired; otherwise when everything that is declared is there and ours. */
  readonly back?: (live: KubeObject) => boolean;
  /** What the other did is still there. */
  readonly kept?: (live: KubeObject) => boolean;
  /** So many writes of ours at the most. */
  readonly writes?: number;
  /** What the condition says. */
  readonly says?: RegExp;
  /** The act is one moment: the controller is stopped meanwhile. */
  readonly frozen?: boolean;
  /** Our entry may name other fields afterwards. */
  readonly otherFields?: boolean;
};

type Send = {
  readonly body?: unknown;
  readonly type?: string;
  readonly manager?: string;
  readonly query?: Readonly<Record<string, string>>;
};
type How = { readonly sub?: string; readonly manager?: string; readonly apiVersion?: string };

/** A refused request of a foreign writer. */
export class Refused extends Error {
  readonly status: number;
  constructor(what: string, status: number, body: string) {
    super(`${what}: ${status} ${body.slice(0, 400)}`);
    this.status = status;
  }
}

/** Somebody else who writes to a workload cluster, under a user agent of his own. */
export class Foreigner {
  readonly #config: ConnectionConfig;
  readonly #agent: Agent;
  readonly #user: string | undefined;
  lastSentMs = 0;

  constructor(config: ConnectionConfig, user?: string) {
    this.#config = config;
    this.#user = user;
    const { certificate } = config.credentials;
    this.#agent = new Agent({
      connect: {
        ...(config.ca === undefined ? {} : { ca: config.ca }),
        ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
      },
    });
  }

  /** The CA of the API server, as a webhook's caBundle. */
  get caBundle(): string {
    return Buffer.from(this.#config.ca ?? "").toString("base64");
  }

  /** The same, as another user with all rights. */
  as(user: string): Foreigner {
    return new Foreigner(this.#config, user);
  }

  close(): Promise<void> {
    return this.#agent.close();
  }

  async send(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    { body, type = "application/json", manager = "other", query = {} }: Send = {},
  ): Promise<KubeObject> {
    if (method !== "GET") this.lastSentMs = performance.now();
    const writes = method === "GET" || method === "DELETE" ? {} : { fieldManager: manager };
    const search = new URLSearchParams({ ...writes, ...query }).toString();
    const reply = await request(`${this.#config.server}${path}?${search}`, {
      dispatcher: this.#agent,
      method,
      headers: {
        "user-agent": "somebody-else",
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": type }),
        ...(this.#user === undefined
          ? {}
          : { "impersonate-user": this.#user, "impersonate-group": "system:masters" }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await reply.body.text();
    if (reply.statusCode >= 300) throw new Refused(`${method} ${path}`, reply.statusCode, text);
    return parseJson(text) as unknown as KubeObject;
  }

  async get(doc: KubeObject): Promise<KubeObject | undefined> {
    try {
      return await this.send("GET", pathOf(doc));
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return undefined;
      throw error;
    }
  }

  create(doc: KubeObject, manager = "other"): Promise<KubeObject> {
    return this.send("POST", pathOf(doc, { collection: true }), { body: doc, manager });
  }

  /** Creates a definition and waits until its kind can be listed at every version. */
  async define(doc: KubeObject): Promise<void> {
    await this.create(doc);
    const { group, names, versions } = asMap(doc["spec"]);
    for (const version of asList(versions).map(asMap)) {
      const path = `/apis/${asString(group) ?? ""}/${asString(version["name"]) ?? ""}/${asString(asMap(names)["plural"]) ?? ""}`;
      await until(() => this.send("GET", path), { deadlineMs: 10_000, what: path });
    }
  }
}

/** The object of a case, in the hands of a foreign writer. */
export class Target {
  readonly api: Foreigner;
  readonly declared: KubeObject;
  /** As it was before the act. */
  readonly before: KubeObject;

  constructor(api: Foreigner, declared: KubeObject, before: KubeObject) {
    this.api = api;
    this.declared = declared;
    this.before = before;
  }

  async live(): Promise<KubeObject> {
    const live = await this.api.get(this.declared);
    if (live === undefined) throw new Error(`${this.declared.metadata.name} is not there`);
    return live;
  }

  #patch(type: string, body: unknown, how: How): Promise<KubeObject> {
    const doc =
      how.apiVersion === undefined
        ? this.declared
        : { ...this.declared, apiVersion: how.apiVersion };
    const send = { body, type, ...(how.manager === undefined ? {} : { manager: how.manager }) };
    return this.api.send("PATCH", pathOf(doc, how), send);
  }

  merge(patch: object, how: How = {}): Promise<KubeObject> {
    return this.#patch("application/merge-patch+json", patch, how);
  }

  strategic(patch: object, how: How = {}): Promise<KubeObject> {
    return this.#patch("application/strategic-merge-patch+json", patch, how);
  }

  json(operations: readonly object[], how: How = {}): Promise<KubeObject> {
    return this.#patch("application/json-patch+json", operations, how);
  }

  /** Reads, merges, and writes the whole object. */
  async put(patch: object, manager = "other"): Promise<KubeObject> {
    const body = merged(await this.live(), patch);
    return this.api.send("PUT", pathOf(this.declared), { body, manager });
  }

  /** Server-side apply of what we declare, merged with `patch`. */
  apply(patch: object, manager: string, force = true, how: How = {}): Promise<KubeObject> {
    const body = { ...(merged(this.declared, patch) as KubeObject), status: undefined };
    return this.api.send("PATCH", pathOf(this.declared, how), {
      body,
      manager,
      type: "application/apply-patch+yaml",
      query: { force: String(force) },
    });
  }

  /** Writes another list of managed fields. */
  async owners(
    change: (entries: readonly ManagedField[]) => readonly unknown[],
  ): Promise<KubeObject> {
    const { managedFields = [], resourceVersion } = (await this.live()).metadata;
    return this.merge({ metadata: { resourceVersion, managedFields: change(managedFields) } });
  }

  delete(): Promise<KubeObject> {
    return this.api.send("DELETE", pathOf(this.declared));
  }

  /** Deletes, and creates from what was there before, merged with `patch`. */
  async recreate(patch: object, manager = "other"): Promise<KubeObject> {
    await this.delete();
    const none = { uid: null, resourceVersion: null, creationTimestamp: null, managedFields: null };
    const before = merged(this.before, { metadata: none });
    return this.api.create(merged(before, patch) as KubeObject, manager);
  }
}

const clusterKinds =
  /^(Namespace|Cluster.*|.*WebhookConfiguration|CustomResourceDefinition|.*AdmissionPolicy.*)$/;

export function pathOf(
  { apiVersion, kind, metadata }: KubeObject,
  { collection = false, sub = "" } = {},
): string {
  const lower = kind.toLowerCase();
  const plural = lower.endsWith("y") ? `${lower.slice(0, -1)}ies` : `${lower}s`;
  const root = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  const scope = clusterKinds.test(kind) ? "" : `/namespaces/${metadata.namespace ?? "default"}`;
  const path = `${root}${scope}/${plural}`;
  return collection ? path : `${path}/${metadata.name}${sub === "" ? "" : `/${sub}`}`;
}

/** JSON merge patch (RFC 7386). */
export function merged(target: unknown, patch: unknown): unknown {
  if (!isJsonMap(patch)) return patch;
  const result: Record<string, unknown> = { ...asMap(target) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

/** The value at a path such as `spec.ports.0.port`. */
export function at(value: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (held, key) => (Array.isArray(held) ? held.at(Number(key)) : asMap(held)[key]),
      value,
    );
}

export const has =
  (path: string, value: unknown) =>
  (live: KubeObject): boolean =>
    isDeepStrictEqual(at(live, path), value);

const isNothing = (value: unknown) =>
  value === undefined ||
  value === null ||
  value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** Whether everything that is declared is in the live value, lists in the same order and whole. */
export function agrees(declared: unknown, live: unknown): boolean {
  if (isNothing(declared) && (isNothing(live) || isJsonMap(declared))) return true;
  if (Array.isArray(declared)) {
    const list = asList(live);
    return list.length === declared.length && declared.every((item, i) => agrees(item, list[i]));
  }
  if (!isJsonMap(declared)) return declared === live;
  return Object.entries(declared).every(([key, value]) => agrees(value, asMap(live)[key]));
}

/** Whether the object is ours and carries what we declare. */
export function isBack({ objects: _, back, otherFields }: Case, target: Target, live: KubeObject) {
  const mine = ownEntry(live.metadata);
  const was = ownEntry(target.before.metadata);
  if (mine === undefined || live.metadata.labels?.["capitan.dev/owner"] === undefined) return false;
  if (otherFields !== true && !isDeepStrictEqual(mine.fieldsV1, was?.fieldsV1)) return false;
  if (back !== undefined) return back(live);
  const { status: _status, ...declared } = target.declared;
  return agrees(declared, live);
}

// ---------------------------------------------------------------- objects

export type Objects = Case["objects"];
export type Act = Case["act"];

export function doc(apiVersion: string, kind: string, name: string, more: object = {}): KubeObject {
  const { metadata, ...rest } = more as { metadata?: object };
  const namespaced = clusterKinds.test(kind) ? {} : { namespace: "default" };
  return { apiVersion, kind, metadata: { name, ...namespaced, ...metadata }, ...rest };
}

export const one =
  (apiVersion: string, kind: string, more: object = {}): Objects =>
  (name) => [doc(apiVersion, kind, name, more)];

export const cm = (data: object = { k: "v", k2: "v2" }, metadata: object = {}) =>
  one("v1", "ConfigMap", { data, metadata });
export const secret = (more: object) => one("v1", "Secret", more);

/** A Deployment with one container `c`; `spec` without replicas when they are undefined. */
export const dep =
  (container: object = {}, pod: object = {}, spec: object = {}): Objects =>
  (name) => {
    const containers = [{ name: "c", image: "registry.example/x:1", ...container }];
    const template = { metadata: { labels: { app: name } }, spec: { containers, ...pod } };
    const selector = { matchLabels: { app: name } };
    return [
      doc("apps/v1", "Deployment", name, { spec: { replicas: 1, selector, template, ...spec } }),
    ];
  };
export const podOf = "spec.template.spec";
export const first = `${podOf}.containers.0`;
export const p = (path: string) => `/${path.replaceAll(".", "/")}`;
export const set = (path: string, value: unknown) => ({ op: "add", path: p(path), value });
export const drop = (path: string) => ({ op: "remove", path: p(path) });

export const service = (spec: object = {}): Objects =>
  one("v1", "Service", {
    spec: {
      selector: { app: "a" },
      ports: [{ name: "http", port: 80, targetPort: 8080 }],
      ...spec,
    },
  });
export const rbac = "rbac.authorization.k8s.io/v1";
export const rule = { apiGroups: [""], resources: ["pods"], verbs: ["get"] };
export const subject = { kind: "ServiceAccount", name: "a", namespace: "default" };
export const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "a" };
export const binding = one(rbac, "RoleBinding", { roleRef, subjects: [subject] });

/** A webhook that no request ever reaches: its kinds do not exist. */
export const hook = (clientConfig: object = {}): Objects =>
  one("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", {
    webhooks: ["a.drift.test", "b.drift.test"].map((name) => ({
      name,
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      failurePolicy: "Ignore",
      rules: [
        { apiGroups: ["none.test"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["x"] },
      ],
      clientConfig: { service: { namespace: "default", name: "w" }, ...clientConfig },
    })),
  });
export const policyRule = { podSelector: { matchLabels: { app: "a" } } };
export const network = one("networking.k8s.io/v1", "NetworkPolicy", {
  spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [policyRule] }] },
});
export const quota = (hard: object) => one("v1", "ResourceQuota", { spec: { hard } });
export const account = one("v1", "ServiceAccount", { imagePullSecrets: [{ name: "a" }] });
export const hpa = one("autoscaling/v1", "HorizontalPodAutoscaler", {
  spec: {
    maxReplicas: 3,
    minReplicas: 1,
    targetCPUUtilizationPercentage: 50,
    scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" },
  },
});

export const group = "drift.test";
export const int = { type: "integer" };
export const text = { type: "string" };
export const schemaOf = (spec: object) => ({
  openAPIV3Schema: {
    type: "object",
    properties: {
      spec: { type: "object", properties: spec },
      status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    },
  },
});

export type Version = { readonly name: string; readonly spec: object; readonly more?: object };

/** A definition of kind `Kname` with these versions, the last of which is stored. */
export function definition(kind: string, versions: readonly Version[]): KubeObject {
  const plural = `${kind.toLowerCase()}s`;
  return doc("apiextensions.k8s.io/v1", "CustomResourceDefinition", `${plural}.${group}`, {
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: versions.map(({ name, spec, more }, i) => ({
        name,
        served: true,
        storage: i === versions.length - 1,
        subresources: { status: {} },
        schema: schemaOf(spec),
        ...more,
      })),
    },
  });
}

export const kindOf = (name: string) => `K${name.replaceAll(/[^a-z0-9]/g, "")}`;
export const crd =
  (more: object = {}): Objects =>
  (name) => {
    const made = definition(kindOf(name), [{ name: "v1", spec: { size: int } }]);
    return [merged(made, { spec: more }) as KubeObject];
  };

/** The kind that most cases of custom resources use. */
export const widget = definition("Widget", [
  {
    name: "v1",
    spec: {
      size: int,
      port: { "x-kubernetes-int-or-string": true },
      ratio: { type: "number" },
      mode: { ...text, default: "auto" },
      note: { ...text, nullable: true },
      plain: text,
      list: { type: "array", items: text },
      tags: { type: "array", items: text, "x-kubernetes-list-type": "set" },
      map: { type: "object", additionalProperties: text },
      free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      embedded: {
        type: "object",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
      },
      items: {
        type: "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "proto"],
        items: {
          type: "object",
          required: ["port"],
          properties: { port: int, proto: { ...text, default: "TCP" }, note: text },
        },
      },
    },
  },
]);
export const cr = (spec: object, metadata: object = {}) =>
  one(`${group}/v1`, "Widget", { spec, metadata });

export const c = (
  row: string,
  objects: Objects,
  act: Act,
  want: Want,
  more: Partial<Case> = {},
): Case => ({
  row,
  objects,
  act,
  want,
  ...more,
});
/** The value at a path as the other writer has left it. */
export const kept = (path: string, value: unknown): Partial<Case> => ({ kept: has(path, value) });
export const ours = ({ manager, operation, subresource }: ManagedField) =>
  manager === "capitan" && operation === "Apply" && subresource === undefined;
export const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";
export const annotated = (t: Target) => ({
  metadata: { annotations: { [lastApplied]: JSON.stringify(t.declared) } },
});
