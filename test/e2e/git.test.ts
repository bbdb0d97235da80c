import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { startGitSsh, type GitSshServer } from "../../hack/lab/git-ssh.ts";
import type { Code } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { describes, gitCodes, seen } from "../harness/codes.ts";
import { GitLab, newKeyPair } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  fleetHas,
  fleetReady,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  until,
} from "../harness/index.ts";

const repository = "config.git";
const cluster = "git-1";
const hostKeys = newKeyPair("ed25519");
const otherKeys = newKeyPair("ed25519");
const deployKeys = newKeyPair("ed25519");

let git: GitLab;
let http: GitServer;
let ssh: GitSshServer;
let hub: KubeClient;
let workload: KubeClient;
let commit: string;

before(async () => {
  hub = await sharedHub();
  workload = (await newCluster(hub, cluster)).client;
  git = await GitLab.make();
  await git.init(repository);
  commit = await push("one");
  http = await startGitHttp({ root: git.root, authorization: `Basic ${btoa("robot:pass-word")}` });
  ssh = await startGitSsh({
    root: git.root,
    hostKeys: [hostKeys.private],
    deployKey: deployKeys.public,
  });
  await secret("git-http", { username: "robot", password: "pass-word" });
  await secret("git-wrong", { username: "robot", password: "another" });
  await secret("git-ssh", sshLogin(hostKeys.public));
  await secret("git-stranger", sshLogin(otherKeys.public));
});
after(async () => {
  await http.close();
  await ssh.close();
  await git.remove();
  await workload.close();
  await retireClusters(hub, "git-");
  await hub.close();
});

const knownHost = () => {
  const [host = "", port = ""] = ssh.host.split(":");
  return `[${host}]:${port}`;
};
const sshLogin = (hostKey: string) => ({
  identity: deployKeys.private,
  known_hosts: `${knownHost()} ${hostKey.split(" ").slice(0, 2).join(" ")}\n`,
});

/** Puts files on the branch main, without a parent: what was there is no ancestor. */
function push(value: string): Promise<string> {
  const app = `apiVersion: v1
kind: ConfigMap
metadata: {name: git-app, namespace: default}
data:
  value: ${value}
  cluster: {{quote cluster.name}}
`;
  return git.commitFiles(repository, { "config/app.yaml.hbs": app, "README.md": "not applied" });
}

const secret = (name: string, stringData: object) =>
  hub.apply(
    resources.secret,
    { apiVersion: "v1", kind: "Secret", metadata: { namespace, name }, stringData },
    { manager: "test" },
  );

const fleet = (source: object) =>
  applyFleet(hub, "git", cluster, [{ name: "config", git: source, path: "./config" }]);
const byHttp = (more: object = {}) => ({
  url: `${http.url}/${repository}`,
  insecure: true,
  secretRef: { name: "git-http" },
  ...more,
});
const bySsh = (name: string) => ({
  url: `ssh://git@${ssh.host}/${repository}`,
  secretRef: { name },
});
const app = { namespace: "default", name: "git-app" };
const value = async () =>
  ((await workload.get(resources.configMap, app))?.["data"] as { value?: string } | undefined)
    ?.value;
const becomes = (wanted: string) =>
  until(async () => (await value()) === wanted, { deadlineMs: 30_000, what: `value ${wanted}` });

test("a layer from Git, by HTTP and by SSH: pinned to its commit, rendered for the cluster", async () => {
  await fleet(byHttp());
  await fleetReady(hub, "git");
  const found = await workload.get(resources.configMap, app);
  assert.deepEqual(found?.["data"], { value: "one", cluster });
  const { stdout } = await capitan(["get", "revisions"]);
  assert.ok(stdout.includes(`main@sha1:${commit.slice(0, 8)}`), stdout);
  await fleet(bySsh("git-ssh"));
  commit = await push("two");
  const ran = await capitan(["reconcile", "fleet", "git", "--timeout", "30s"]);
  assert.equal(ran.code, 0, ran.stderr);
  await becomes("two");
});

test("G2 a forced push: the new commit is applied", async () => {
  await fleet(byHttp());
  await push("three");
  await capitan(["reconcile", "fleet", "git", "--timeout", "30s"]);
  await becomes("three");
  await fleetReady(hub, "git");
});

test("what is wrong with a repository is said with what to do, and what is there stays", async () => {
  const cases: readonly (readonly [Code, object])[] = [
    ["GitDenied", byHttp({ secretRef: { name: "git-wrong" } })],
    ["GitNotFound", byHttp({ ref: { branch: "nowhere" } })],
    ["HostKeyRefused", bySsh("git-stranger")],
  ];
  for (const [code, source] of cases) {
    await fleet(source);
    const { message } = await fleetHas(hub, "git", code);
    assert.ok(!message.includes("pass-word") && !message.includes("another"), message);
    await describes(["fleet", "git"], code);
    assert.equal(await value(), "three");
  }
  await fleet(byHttp());
  await fleetReady(hub, "git");
});

test("G1 the Git server is down: the last good commit stays, drift is put back, and the Fleet says so", async () => {
  await http.close();
  await capitan(["reconcile", "fleet", "git", "--no-wait"]);
  await fleetHas(hub, "git", "GitUnreachable");
  await describes(["fleet", "git"], "GitUnreachable");
  await workload.mergePatch(resources.configMap, app, { data: { value: "drift" } });
  await becomes("three");
});

test("every error code about Git was made true above", () => {
  assert.deepEqual(
    gitCodes.filter((code) => !seen.has(code)),
    [],
  );
});
