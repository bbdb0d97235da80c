import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { serverDir } from "../../hack/lab/apiserver.ts";
import { serveArtifact, startKustomizeController } from "../../hack/lab/kustomize.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  capitan,
  deleteNow,
  fleetReady,
  memberHas,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { describes } from "../harness/codes.ts";
import { encrypted } from "../harness/secrets.ts";

let lab: LabFile;
let hub: KubeClient;
let client: KubeClient;
const cluster = "ident-1";
const planted = { namespace: "flux-system", name: "sops-age" };
const identity = { namespace, name: `${cluster}-age-1` };

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  ({ client } = await newCluster(hub, cluster));
});
after(async () => {
  await client.close();
  await retireClusters(hub, "ident-");
  await hub.close();
});

test("capitan init keys: the copy on the disk is the key on the hub, made once", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-keys-"));
  t.after(() => rm(dir, { recursive: true }));
  const name = { namespace, name: "manager-key" };
  await deleteNow(hub, resources.secret, name);
  const file = join(dir, "manager.agekey");
  const { stdout, code, stderr } = await capitan(["init", "keys", "--out", file]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^age1[0-9a-z]{58}\n$/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const secret = await hub.get(resources.secret, name);
  const key = asString(asMap(secret?.["data"])["manager.agekey"]) ?? "";
  assert.equal(Buffer.from(key, "base64").toString(), await readFile(file, "utf8"));
  assert.equal(secret?.["immutable"], true);
  const { stdout: recipients } = await capitan(["get", "recipients", "-o", "json"]);
  const [manager] = JSON.parse(recipients) as readonly Row[];
  assert.equal(manager?.recipient, stdout.trim());
  const other = join(dir, "other.agekey");
  const again = await capitan(["init", "keys", "--out", other]);
  assert.match(again.stderr, /AlreadyExists: Secret fleet\/manager-key is there already/);
  await assert.rejects(stat(other), /ENOENT/);
  const taken = await capitan(["init", "keys", "--out", file]);
  assert.equal(taken.code, 1);
  assert.equal(
    (await hub.get(resources.secret, name))?.metadata.resourceVersion,
    secret?.metadata.resourceVersion,
  );
});

type Row = { readonly cluster?: string; readonly generation?: number; readonly recipient: string };

async function recipientOf(name: string): Promise<string> {
  const { stdout, code, stderr } = await capitan(["get", "recipients", "-o", "json"]);
  assert.equal(code, 0, stderr);
  const rows = JSON.parse(stdout) as readonly Row[];
  const found = rows.find((row) => row.cluster === name);
  assert.ok(found !== undefined, stdout);
  return found.recipient;
}

test("a cluster's own Flux decrypts with the identity that Capitan made and planted: a real kustomize-controller applies the Secret", async () => {
  await pushFiles(`oci://${lab.registry}/ident/flux:${fluxVersion}`, {
    "gotk-components.yaml": (await fluxManifests()).text,
  });
  const flux = {
    name: "flux",
    flux: {
      version: fluxVersion,
      artifact: { url: `oci://${lab.registry}/ident/flux`, insecure: true },
      components: ["source-controller", "kustomize-controller"],
      sync: {
        git: { url: "https://git.example/fleet" },
        path: "./clusters/{{cluster.name}}",
        follow: "Tag",
        decryption: { provider: "sops" },
      },
    },
  };
  // Its source is never ready without a source-controller: that is not waited for.
  await applyFleet(hub, "ident", cluster, [{ ...flux, wait: false }]);
  await fleetReady(hub, "ident");
  const made = await hub.get(resources.secret, identity);
  assert.equal(made?.["immutable"], true);
  assert.equal(made?.metadata.ownerReferences, undefined);
  assert.equal(made?.metadata.labels?.["clusterctl.cluster.x-k8s.io/move"], "");
  const copy = await client.get(resources.secret, planted);
  assert.equal(copy?.metadata.labels?.["reconcile.fluxcd.io/watch"], "Enabled");
  assert.deepEqual(copy?.["data"], { "1.agekey": asMap(made?.["data"])["identity"] });

  const secret = `apiVersion: v1
kind: Secret
metadata:
    name: opened
    namespace: default
stringData:
    word: only-for-this-cluster
`;
  const file = await encrypted(secret, "opened.sops.yaml", [await recipientOf(cluster)]);
  assert.ok(!file.includes("only-for-this-cluster"));
  const source = { namespace: "flux-system", name: "flux-system" };
  const server = await serveArtifact(client, source, { [`clusters/${cluster}/s.yaml`]: file });
  try {
    const kubeconfig = join(serverDir(lab.dir, cluster), "kubeconfig");
    await startKustomizeController(lab.dir, kubeconfig, { progress: silent });
    const opened = await until(
      () => client.get(resources.secret, { namespace: "default", name: "opened" }),
      { deadlineMs: 60_000, what: "kustomize-controller to apply the decrypted Secret" },
    );
    const word = Buffer.from(asString(asMap(opened["data"])["word"]) ?? "", "base64").toString();
    assert.equal(word, "only-for-this-cluster");
  } finally {
    server.close();
    await stop(lab.dir, "kustomize-controller");
  }
});

test("a planted identity that somebody takes away or changes is put back at once", async () => {
  const before = await client.get(resources.secret, planted);
  assert.ok(before !== undefined);
  await client.delete(resources.secret, before);
  await until(
    async () => {
      const now = await client.get(resources.secret, planted);
      return now !== undefined && now.metadata.uid !== before.metadata.uid;
    },
    { deadlineMs: 10_000, what: "the identity to be planted again" },
  );
  await client.mergePatch(resources.secret, planted, { data: { "1.agekey": "eA==" } });
  await until(
    async () =>
      asMap((await client.get(resources.secret, planted))?.["data"])["1.agekey"] ===
      asMap(before["data"])["1.agekey"],
    { deadlineMs: 10_000, what: "the identity to be as it was" },
  );
});

test("an identity that is there is used, never overwritten; further generations are planted beside it", async () => {
  const first = await hub.get(resources.secret, identity);
  const copied = asString(asMap(first?.["data"])["identity"]) ?? "";
  await hub.create(resources.secret, {
    apiVersion: "v1",
    kind: "Secret",
    immutable: true,
    metadata: {
      namespace,
      name: `${cluster}-age-2`,
      labels: {
        "cluster.x-k8s.io/cluster-name": cluster,
        "capitan.dev/age-generation": "2",
      },
    },
    data: { identity: copied },
  });
  await until(
    async () => {
      const data = asMap((await client.get(resources.secret, planted))?.["data"]);
      return Object.keys(data).join(" ") === "1.agekey 2.agekey";
    },
    { deadlineMs: 10_000, what: "both identities to be planted" },
  );
  const now = await hub.get(resources.secret, identity);
  assert.equal(now?.metadata.resourceVersion, first?.metadata.resourceVersion);
});

test("IdentityLost: what the hub has lost is not taken from the cluster, which has the last copy", async () => {
  const lost = await hub.get(resources.secret, identity);
  const kept = (await client.get(resources.secret, planted))?.["data"];
  assert.ok(lost !== undefined);
  await deleteNow(hub, resources.secret, identity);
  await memberHas(hub, "ident", cluster, "IdentityLost");
  await describes(["member", cluster], "IdentityLost");
  // Also when nothing is left on the hub, and when a person asks.
  await deleteNow(hub, resources.secret, { namespace, name: `${cluster}-age-2` });
  await capitan(["reconcile", "member", cluster, "--timeout", "5s"]);
  assert.equal(await hub.get(resources.secret, identity), undefined, "no other one is made");
  assert.deepEqual((await client.get(resources.secret, planted))?.["data"], kept);
  const { namespace: where = "", name, labels = {} } = lost.metadata;
  for (const generation of ["1", "2"])
    await hub.create(resources.secret, {
      ...lost,
      metadata: {
        namespace: where,
        name: name.replace(/1$/, generation),
        labels: { ...labels, "capitan.dev/age-generation": generation },
      },
    });
  await fleetReady(hub, "ident");
  await deleteNow(hub, resources.fleet, { namespace, name: "ident" });
  await until(
    async () => (await hub.get(resources.fleet, { namespace, name: "ident" })) === undefined,
    { deadlineMs: 60_000, what: "the Fleet to be gone" },
  );
  // Leaving the Fleet takes the identities neither from the hub nor from the cluster.
  assert.ok((await hub.get(resources.secret, identity)) !== undefined);
  assert.ok((await client.get(resources.secret, planted)) !== undefined);
});
