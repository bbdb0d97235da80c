import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { hubContexts, loadHubConfig } from "./index.ts";

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "capitan-hub-config-"));
});
after(() => rm(dir, { recursive: true, force: true }));

/** A kubeconfig in a directory of its own, with what is given of each. */
async function file(name: string, parts: object): Promise<string> {
  await mkdir(join(dir, name));
  const path = join(dir, name, "config");
  await writeFile(path, JSON.stringify({ apiVersion: "v1", kind: "Config", ...parts }));
  return path;
}

const context = (name: string) => ({ name, context: { cluster: name, user: name } });
const cluster = (name: string, server: string, more: object = {}) => ({
  name,
  cluster: { server, ...more },
});
const user = (name: string, token: string) => ({ name, user: { token } });
const list = (...files: readonly string[]) => ({ KUBECONFIG: files.join(delimiter) });

test("KUBECONFIG names several files: the first with a name counts, what is not there is left out", async () => {
  const first = await file("first", {
    "current-context": "",
    clusters: [cluster("hub", "https://first.example", { "certificate-authority": "ca.pem" })],
  });
  const second = await file("second", {
    "current-context": "hub",
    contexts: [context("other"), context("hub")],
    clusters: [cluster("hub", "https://second.example")],
    users: [user("hub", "t2")],
  });
  const third = await file("third", { "current-context": "other", users: [user("hub", "t3")] });
  await writeFile(join(dir, "first", "ca.pem"), "of the first");
  const files = ["", first, join(dir, "nowhere"), second, third];
  const { server, ca, credentials } = await loadHubConfig(list(...files));
  // What a file names is beside that file.
  assert.deepEqual([server, ca], ["https://first.example", "of the first"]);
  assert.equal(await credentials.authorization?.(), "Bearer t2");
});

test("what is missing in all of them names all of them; none that is there names the first", async () => {
  const lonely = await file("lonely", { "current-context": "hub", contexts: [context("hub")] });
  const empty = await file("empty", {});
  const code = "HubConfigInvalid";
  const message = `${lonely}, ${empty}: the current context names no cluster`;
  await assert.rejects(loadHubConfig(list(lonely, empty)), { code, message });
  await assert.rejects(loadHubConfig(list("/nonexistent/a", "/nonexistent/b")), {
    code,
    message: /^cannot read the kubeconfig \/nonexistent\/a: ENOENT/,
  });
  // A directory is there, and is no kubeconfig.
  await assert.rejects(loadHubConfig(list(lonely, dir)), { code, message: /EISDIR/ });
});

test("--kubeconfig is one file, whatever its name and KUBECONFIG say", async () => {
  const name = await file(`odd${delimiter}name`, {
    "current-context": "hub",
    contexts: [context("hub")],
    clusters: [cluster("hub", "https://odd.example")],
    users: [user("hub", "t")],
  });
  const { server } = await loadHubConfig(list("/nonexistent"), { kubeconfig: name });
  assert.equal(server, "https://odd.example");
});

test("--context is any context of these files, and what has not that name says which there are", async () => {
  const own = await file("own", { "current-context": "none", contexts: [context("a")] });
  const other = await file("other", {
    contexts: [context("a"), context("b"), { name: "c", context: { cluster: "b", user: "x" } }],
    clusters: [cluster("a", "https://a.example"), cluster("b", "https://b.example")],
    users: [user("a", "ta"), user("b", "tb")],
  });
  const both = list(own, other);
  const chosen = await loadHubConfig(both, { context: "b" });
  assert.equal(chosen.server, "https://b.example");
  assert.equal(await chosen.credentials.authorization?.(), "Bearer tb");
  assert.equal(
    (await loadHubConfig({}, { kubeconfig: other, context: "a" })).server,
    "https://a.example",
  );
  const code = "HubConfigInvalid";
  await assert.rejects(loadHubConfig(both, { context: "prod" }), {
    code,
    message: `${own}, ${other}: no context is named prod; there are: a, b, c`,
  });
  await assert.rejects(loadHubConfig(both, { context: "c" }), {
    code,
    message: `${own}, ${other}: the context c names no user`,
  });
  assert.deepEqual(await hubContexts(both, {}), ["a", "b", "c"]);
  // In a pod: the ServiceAccount, unless somebody names a context.
  const home = { HOME: "/nonexistent", KUBERNETES_SERVICE_HOST: "10.0.0.1" };
  assert.deepEqual(await hubContexts(home, {}), []);
  const message = /^cannot read the kubeconfig \/nonexistent\/\.kube\/config: ENOENT/;
  await assert.rejects(loadHubConfig(home, { context: "b" }), { code, message });
});

test("an exec plugin that fails is named, with what it said", async () => {
  const command = "/bin/sh";
  const exec = { command, args: ["-c", "echo log in first >&2; exit 3"] };
  const path = await file("exec", {
    "current-context": "hub",
    contexts: [context("hub")],
    clusters: [cluster("hub", "https://exec.example")],
    users: [{ name: "hub", user: { exec } }],
  });
  const { credentials } = await loadHubConfig({}, { kubeconfig: path });
  await assert.rejects(async () => credentials.authorization?.(), {
    code: "HubConfigInvalid",
    message: /^exec plugin \/bin\/sh: .*log in first$/s,
  });
});
