import assert from "node:assert/strict";
import type { Server } from "node:http";
import { after, before, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { stop } from "../../hack/lab/processes.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  configMap,
  deleteNow,
  fleetHas,
  fleetOf,
  fleetReady,
  memberOf,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { listen, portOf } from "../harness/servers.ts";

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let port: number;
const servers: Server[] = [];
const name = { namespace: "default", name: "kept" };

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  port = lab.ports.lastWorkload - 40;
  workload = (await newCluster(hub, "reg-1")).client;
});
after(async () => {
  for (const server of servers) server.close();
  await stop(lab.dir, "registry-outage");
  await workload.close();
  await hub.close();
});

async function start(): Promise<string> {
  const { registry } = await ensureTools(silent);
  return startRegistry(lab.dir, registry, { name: "registry-outage", port });
}

/** Asks the Fleet to look at its sources now, and waits until it says why it cannot. */
async function askedNow(at: string): Promise<string> {
  const annotations = { "reconcile.fluxcd.io/requestedAt": at };
  const fleet = { namespace, name: "reg-outage" };
  await hub.mergePatch(resources.fleet, fleet, { metadata: { annotations } });
  await until(
    async () => (await fleetOf(hub, "reg-outage"))?.status?.lastHandledReconcileAt === at,
    { deadlineMs: 60_000, what: "the Fleet to be asked" },
  );
  return (await fleetHas(hub, "reg-outage", "RegistryUnreachable")).message;
}

/** What the ConfigMap holds when it was deleted by somebody and has come back. */
async function comesBack(): Promise<unknown> {
  await deleteNow(workload, resources.configMap, name);
  const back = await until(() => workload.get(resources.configMap, name), {
    deadlineMs: 20_000,
    what: "the ConfigMap to come back",
  });
  return asMap(back["data"])["version"];
}

test("O1 while a registry is down or busy the last good artifact stays, and is kept in place", async () => {
  const host = await start();
  const url = `oci://${host}/outage`;
  const push = (version: string) =>
    pushFiles(`${url}:stable`, { "a.yaml": JSON.stringify(configMap("kept", { version })) });
  await push("1");
  const oci = { url, ref: { tag: "stable" }, insecure: true };
  await applyFleet(hub, "reg-outage", "reg-1", [{ name: "l", oci }]);
  await fleetReady(hub, "reg-outage");
  const { spec } = (await memberOf(hub, "reg-outage", "reg-1")) ?? {};

  await push("2");
  await stop(lab.dir, "registry-outage");
  assert.match(await askedNow("down"), /layer l: .*ECONNREFUSED/);
  assert.equal(await comesBack(), "1");

  for (const status of [429, 500, 503]) {
    const server = await listen((_request, response) => {
      response.writeHead(status, { "retry-after": "0" }).end();
    }, port);
    servers.push(server);
    assert.match(await askedNow(`busy-${status}`), new RegExp(`layer l: .*HTTP ${status}`));
    assert.equal(await comesBack(), "1");
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  assert.deepEqual((await memberOf(hub, "reg-outage", "reg-1"))?.spec, spec);

  await start();
  const annotations = { "reconcile.fluxcd.io/requestedAt": "back" };
  const fleet = { namespace, name: "reg-outage" };
  await hub.mergePatch(resources.fleet, fleet, { metadata: { annotations } });
  await until(
    async () => {
      const found = await workload.get(resources.configMap, name);
      return asMap(found?.["data"])["version"] === "2";
    },
    { deadlineMs: 30_000, what: "the new artifact to arrive" },
  );
});

for (const helpers of [{ credsStore: "evil" }, { credHelpers: { r: "evil" } }]) {
  const [kind = ""] = Object.keys(helpers);
  test(`O8 a Secret that names programs by ${kind} is refused before anybody is asked`, async () => {
    const seen: string[] = [];
    const server = await listen((request, response) => {
      seen.push(request.url ?? "");
      response.writeHead(404).end();
    });
    servers.push(server);
    const host = `127.0.0.1:${portOf(server)}`;
    const config = { auths: { [host]: { auth: btoa("user:s3cr3t") } }, ...helpers };
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { namespace, name: `reg-${kind.toLowerCase()}` },
      data: { ".dockerconfigjson": btoa(JSON.stringify(config)) },
    };
    await hub.apply(resources.secret, secret, { manager: "test" });
    const fleet = `reg-${kind.toLowerCase()}`;
    const oci = { url: `oci://${host}/a`, insecure: true, secretRef: { name: fleet } };
    await applyFleet(hub, fleet, "reg-1", [{ name: "l", oci }]);
    const { message } = await fleetHas(hub, fleet, "SecretInvalid");
    assert.match(message, /Secret fleet\/reg-cred.*programs, which are not run for a Secret/);
    assert.ok(!message.includes("s3cr3t"));
    assert.deepEqual(seen, []);
  });
}
