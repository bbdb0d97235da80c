import assert from "node:assert/strict";
import { test } from "node:test";
import { KubeClient } from "./client.ts";
import { Discovery } from "./discovery.ts";
import type { Call, Transport } from "./transport.ts";

const resource = (kind: string, plural: string, verbs = ["get", "list", "patch"]) => ({
  resource: plural,
  responseKind: { kind },
  scope: "Namespaced",
  verbs,
});
const group = (name: string, version: string, resources: readonly object[]) => ({
  metadata: { name },
  versions: [{ version, resources }],
});
const documents = (core: readonly object[], groups: readonly object[]) => ({
  "/api": JSON.stringify({ items: core }),
  "/apis": JSON.stringify({ items: groups }),
});

/** What a server with these documents serves; counts its requests. */
function discoveryOf(texts: Readonly<Record<string, string>>) {
  const asked: string[] = [];
  const call = ({ path }: Call) => {
    asked.push(path);
    return Promise.resolve({ status: 200, body: texts[path] ?? "" });
  };
  return { asked, discovery: new Discovery(new KubeClient({ call } as unknown as Transport)) };
}

const core = [
  group("", "v1", [resource("Secret", "secrets"), resource("Binding", "bindings", ["create"])]),
];
const apps = group("apps", "v1", [resource("Deployment", "deployments")]);

test("what can be kept is found by apiVersion and kind, with two requests", async () => {
  const { asked, discovery } = discoveryOf(documents(core, [apps]));
  const found = await discovery.find("apps/v1", "Deployment");
  assert.deepEqual(found, {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    namespaced: true,
  });
  assert.equal((await discovery.find("v1", "Secret"))?.plural, "secrets");
  assert.equal(await discovery.find("v1", "Binding"), undefined);
  assert.deepEqual(asked, ["/api", "/apis"]);
});

test("servers of the same documents share what was read, others do not, and one that forgets reads anew", async () => {
  const texts = { ...documents(core, [apps]) };
  const first = discoveryOf(texts);
  const second = discoveryOf(documents(core, [apps]));
  const third = discoveryOf(documents(core, []));
  const deployment = await first.discovery.find("apps/v1", "Deployment");
  assert.equal(await second.discovery.find("apps/v1", "Deployment"), deployment);
  assert.deepEqual(second.asked, ["/api", "/apis"]);
  assert.equal(await third.discovery.find("apps/v1", "Deployment"), undefined);
  Object.assign(texts, documents(core, []));
  assert.equal(await first.discovery.find("apps/v1", "Deployment"), deployment);
  first.discovery.forget();
  assert.equal(await first.discovery.find("apps/v1", "Deployment"), undefined);
  assert.equal(await second.discovery.find("apps/v1", "Deployment"), deployment);
});

test("documents that cannot be read are an error, and are asked for again", async () => {
  const texts: Record<string, string> = { ...documents(core, [apps]), "/apis": "<html>" };
  const { discovery } = discoveryOf(texts);
  await assert.rejects(discovery.find("v1", "Secret"), /GET \/apis: the reply is no JSON/);
  Object.assign(texts, documents(core, [apps]));
  assert.equal((await discovery.find("v1", "Secret"))?.kind, "Secret");
});
