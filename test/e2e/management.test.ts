import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { GitLab } from "../harness/git.ts";
import {
  capitan,
  configMap,
  deleteNow,
  fleetReady,
  inline,
  memberOf,
  namespace,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

let hub: KubeClient;
let git: GitLab;
let http: GitServer;

before(async () => {
  hub = await sharedHub();
  git = await GitLab.make();
  await git.init("fleet.git");
  http = await startGitHttp({ root: git.root });
});
after(async () => {
  await http.close();
  await git.remove();
  await hub.close();
});

/** Applies a Fleet that delivers to the hub itself. */
function manage(name: string, layers: readonly object[], more: object = {}) {
  const spec = { target: "Management", layers, ...more };
  const metadata = { namespace, name };
  const fleet: KubeObject = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  return hub.apply(resources.fleet, fleet, { manager: "test" });
}

const yaml = (name: string, from: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\ndata:\n  from: ${from}\n`;
const dataOf = async (name: string) =>
  (await hub.get(resources.configMap, { namespace, name }))?.["data"];

test("target: Management brings inline, OCI and Git layers to the hub itself, and puts back what is changed", async () => {
  const { registry } = await sharedLab();
  const url = `oci://${registry}/management/config`;
  await pushFiles(`${url}:v1`, { "a.yaml": yaml("man-oci", "oci") });
  await git.commitFiles("fleet.git", {
    "management/a.yaml.hbs": `${yaml("man-git", "git")}---\n${yaml("man-facts", "{{quote cluster.name}}")}`,
  });
  await manage("man", [
    inline("here", [configMap("man-inline", { from: "inline" }, namespace)]),
    { name: "oci", oci: { url, ref: { tag: "v1" }, insecure: true } },
    {
      name: "git",
      git: { url: `${http.url}/fleet.git`, insecure: true },
      path: "./management",
    },
  ]);
  await fleetReady(hub, "man");
  assert.deepEqual(await dataOf("man-inline"), { from: "inline" });
  assert.deepEqual(await dataOf("man-oci"), { from: "oci" });
  assert.deepEqual(await dataOf("man-git"), { from: "git" });
  assert.deepEqual(await dataOf("man-facts"), { from: "management" });
  const member = await memberOf(hub, "man", "management");
  assert.deepEqual(member?.spec.clusterRef, { kind: "Management", name: "management" });
  assert.equal(member?.metadata.ownerReferences, undefined);
  await hub.mergePatch(
    resources.configMap,
    { namespace, name: "man-git" },
    { data: { from: "somebody" } },
  );
  await until(async () => (await dataOf("man-git"))?.["from" as never] === "git", {
    deadlineMs: 5_000,
    what: "the change to be undone",
  });
  await deleteNow(hub, resources.fleet, { namespace, name: "man" });
  await until(async () => (await dataOf("man-git")) === undefined, {
    deadlineMs: 20_000,
    what: "everything to go with the Fleet",
  });
  const { stdout } = await capitan(["get", "fleets"]);
  assert.ok(!stdout.includes("man "), stdout);
});
