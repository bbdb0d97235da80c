import assert from "node:assert/strict";
import { test } from "node:test";
import { Mirror } from "../drift/index.ts";
import type { DesiredObject } from "../engine/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { idOf, keyOf, labels, stageOf, type KubeObject, type ObjectMeta } from "../object/index.ts";
import { Applier } from "./applier.ts";
import type { Kinds } from "./kinds.ts";
import { coreResources } from "./resources.ts";

function want(apiVersion: string, kind: string): DesiredObject {
  const metadata = { name: kind.toLowerCase(), labels: { [labels.owner]: "me" } };
  const object: KubeObject = { apiVersion, kind, metadata };
  const id = idOf(object);
  const stage = stageOf(object);
  return { key: keyOf(id), id, stage, layer: "l", object, digest: "d", mode: "Always" };
}

const account = want("v1", "ServiceAccount");
const batch = [
  want("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
  want("apps/v1", "Deployment"),
  account,
];
const ownFields = [{ manager: "capitan", operation: "Apply", fieldsV1: {}, time: "t" }] as const;

/** The kinds that are sent, in order, when the API server answers so for the ServiceAccount. */
async function sent(change: (metadata: ObjectMeta) => ObjectMeta): Promise<readonly string[]> {
  const kinds: string[] = [];
  const apply = (_: unknown, object: KubeObject) => {
    kinds.push(object.kind);
    const stored = { ...object.metadata, uid: "u", resourceVersion: "2", managedFields: ownFields };
    const metadata = object.kind === "ServiceAccount" ? change(stored) : stored;
    return Promise.resolve({ object: { ...object, metadata }, created: true });
  };
  const client = { apply } as unknown as KubeClient;
  const served = {
    find: () => Promise.resolve(coreResources.configMap),
    forget: () => {},
    outgrow: () => {},
  } as unknown as Kinds;
  const options = { kinds: served, mirror: new Mirror(), onNews: () => {} };
  const applier = new Applier({ own: client, client }, options);
  await applier.apply(batch, new Map(), new AbortController().signal);
  return kinds;
}

test("stages follow each other; one that is not done is the last", async () => {
  const [all, first] = [
    ["ServiceAccount", "Deployment", "ValidatingWebhookConfiguration"],
    ["ServiceAccount"],
  ];
  assert.deepEqual(await sent((metadata) => metadata), all);
  const refused = () => {
    throw new ApiError("PATCH", "refused", { status: 422 });
  };
  const going = { deletionTimestamp: "2026-01-01T00:00:00Z" };
  assert.deepEqual(await sent(refused), first);
  assert.deepEqual(await sent((metadata) => ({ ...metadata, ...going })), first);
  assert.deepEqual(await sent((metadata) => ({ ...metadata, labels: {} })), first);
  assert.deepEqual(await sent(({ managedFields: _, ...metadata }) => metadata), first);
});
