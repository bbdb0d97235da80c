// Clusters made, changed and taken away in a repository behind the real git http-backend. No hub is asked.
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { inTerminal } from "../harness/cli.ts";
import { fleetRepository, manager, password, sopsYaml } from "../harness/fleet-repository.ts";
import { GitLab, temporary } from "../harness/git.ts";

let lab: GitLab;
let server: GitServer;

before(async () => {
  lab = await GitLab.make();
  server = await startGitHttp({ root: lab.root });
});
after(async () => {
  await server.close();
  await lab.remove();
});

const repository = (t: TestContext, name: string, files: Readonly<Record<string, string>> = {}) =>
  fleetRepository(t, { lab, url: server.url, name, files });

const made = [
  "config/clusters/prod-eu-1/secrets/admin.sops.yaml",
  "config/clusters/prod-eu-1/values.yaml",
  "management/clusters/prod-eu-1/cluster.yaml",
  "management/clusters/prod-eu-1/identity.sops.yaml",
];

test("create cluster is one commit with everything that the cluster is, and nothing readable that is secret", async (t) => {
  const r = await repository(t, "create.git");
  const { code, stdout, stderr } = await r.create("prod-eu-1", "--offline --set region=us");
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^✔ cluster prod-eu-1: commit [0-9a-f]{12} on main\n  → the hub takes it over/,
  );
  assert.equal(await r.log(), "Ada Create cluster prod-eu-1 from template lab\nlab on main");
  assert.equal(await lab.git(r.name, ["rev-parse", "main^"]), r.parent);
  assert.deepEqual(
    (await r.files()).filter((path) => path.includes("prod-eu-1")),
    made,
  );
  for (const text of [stdout, stderr, ...(await Promise.all(made.map((path) => r.show(path))))])
    assert.ok(!text.includes("battery") && !text.includes("AGE-SECRET-KEY"));
  assert.match(stderr, /\+stringData:\n\+ +password: \(encrypted\)\n/);
  assert.match(
    await r.show("management/clusters/prod-eu-1/cluster.yaml"),
    /"region":"us".*region: us/s,
  );
  const secret = await r.decrypt(made[0] ?? "");
  assert.match(secret, /password: 'correct horse: battery #1'\n/);
  const identity = await r.decrypt(made[3] ?? "");
  assert.match(identity, /name: prod-eu-1-age-1\n/);
  const [, recipient = ""] = /capitan.dev\/recipient: (age1\w+)/.exec(identity) ?? [];
  assert.match(
    await r.show(".sops.yaml"),
    new RegExp(
      String.raw`\^config/clusters/prod-eu-1/[^\n]*\n[^\n]*\n    age: ${manager.recipient},${recipient}\n`,
    ),
  );
});

test("--dry-run shows it all and commits nothing; --output writes files; --branch leaves main alone", async (t) => {
  const r = await repository(t, "elsewhere.git");
  const shown = await r.create("prod-eu-1", "--offline --dry-run");
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /\+\+\+ b\/config\/clusters\/prod-eu-1\/values\.yaml\n/);
  assert.ok(!shown.stdout.includes("battery"));
  const out = await temporary(t);
  const written = await r.create("prod-eu-1", `--offline --output ${out}`);
  assert.equal(written.code, 0, written.stderr);
  assert.match(await readFile(join(out, made[1] ?? ""), "utf8"), /region: eu\n/);
  assert.equal(await r.head(), r.parent);
  const branched = await r.create("prod-eu-1", "--offline --branch new-cluster");
  assert.match(branched.stdout, /on new-cluster\n  → have new-cluster merged into main\n/);
  assert.equal(await r.head(), r.parent);
  assert.equal(await lab.git(r.name, ["rev-parse", "new-cluster^"]), r.parent);
});

test("--output writes over nothing that is not as in the repository: what somebody changed there stays", async (t) => {
  const r = await repository(t, "output.git");
  const out = await temporary(t);
  const mine = `${sopsYaml}# not committed yet\n`;
  await writeFile(join(out, ".sops.yaml"), mine);
  const refused = await r.create("prod-eu-1", `--offline --output ${out}`);
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(
    refused.stderr,
    /✗ FileInvalid: \S+\/\.sops\.yaml is not as in the fleet repository, and would be written over; commit and push it/,
  );
  assert.deepEqual(await readdir(out), [".sops.yaml"]);
  assert.equal(await readFile(join(out, ".sops.yaml"), "utf8"), mine);
  // A clone that is as the repository is takes everything.
  await writeFile(join(out, ".sops.yaml"), sopsYaml);
  const written = await r.create("prod-eu-1", `--offline --output ${out}`);
  assert.equal(written.code, 0, written.stderr);
  assert.match(await readFile(join(out, ".sops.yaml"), "utf8"), /config\/clusters\/prod-eu-1/);
  const again = await r.create("prod-eu-1", `--offline --output ${out}`);
  assert.match(again.stderr, /✗ FileInvalid: .*(is there already|is not as in)/);
});

const refusals: readonly (readonly [string, string, RegExp])[] = [
  [
    "a secret on the command line",
    "create cluster a1 -t lab --offline --set adminPassword=hunter22",
    /^✗ ParameterInvalid: adminPassword: is secret: say --set-file/,
  ],
  [
    "missing parameters, all named",
    "create cluster a1 -t lab --offline --set region=mars",
    /^✗ ParameterInvalid: template lab: *\n  region: must be one of eu, us\n  adminPassword: is missing/,
  ],
  [
    "a template that there is not",
    "create cluster a1 -t labor --offline",
    /^✗ NotFound: there is no ClusterTemplate labor; known: lab\n/,
  ],
  ["a name that machines cannot have", "create cluster A.1 -t lab --offline", /^✗ NameInvalid: /],
  [
    "a cluster that is not there",
    "upgrade cluster a1",
    /^✗ FileInvalid: no file of the repository says that it was made for cluster fleet\/a1/,
  ],
];
for (const [what, words, why] of refusals)
  test(`${what}: refused before anything is written`, async (t) => {
    const r = await repository(t, `refused-${refusals.findIndex(([w]) => w === what)}.git`);
    const { code, stderr, stdout } = await r.run(words);
    assert.equal(code, 1);
    assert.match(stderr, why);
    assert.ok(!`${stdout}${stderr}`.includes("hunter22"));
    assert.equal(await r.head(), r.parent);
  });

test("a name that is taken in the repository is refused, whoever took it", async (t) => {
  const r = await repository(t, "taken.git", { "config/clusters/prod-eu-1/a.yaml": "a: 1\n" });
  const { stderr } = await r.create("prod-eu-1", "--offline");
  assert.match(
    stderr,
    /^✗ AlreadyExists: the repository has a cluster prod-eu-1 already: config\/cl/,
  );
});

test("a secret that its rule would leave readable stops everything", async (t) => {
  const rule = sopsYaml.replace(
    "^(apiVersion|kind|metadata)$",
    "^(apiVersion|kind|metadata|stringData)$",
  );
  const r = await repository(t, "exposed.git", { ".sops.yaml": rule });
  const { stderr } = await r.create("prod-eu-1", "--offline");
  assert.match(
    stderr,
    /✗ SecretExposed: config\/clusters\/prod-eu-1\/secrets\/admin\.sops\.yaml holds adminPassword, and its rule/,
  );
  assert.ok(!stderr.includes("battery"));
  assert.equal(await r.head(), r.parent);
});

test("a secret comes from stdin, or is made", async (t) => {
  const r = await repository(t, "stdin.git");
  const from = await r.run(
    "create cluster a1 -t lab --offline --set-file adminPassword=-",
    `${password}\n`,
  );
  assert.equal(from.code, 0, from.stderr);
  assert.match(await r.decrypt("config/clusters/a1/secrets/admin.sops.yaml"), /correct horse/);
  const generated = await r.run("create cluster b1 -t lab --offline --generate adminPassword");
  assert.equal(generated.code, 0, generated.stderr);
  assert.match(
    await r.decrypt("config/clusters/b1/secrets/admin.sops.yaml"),
    /password: [\w-]{32}\n/,
  );
});

test("upgrade changes the version in one commit, keeps the secrets, and refuses to skip or go back", async (t) => {
  const r = await repository(t, "upgrade.git");
  await r.create("prod-eu-1", "--offline");
  const before = await r.show(made[0] ?? "");
  const { code, stdout, stderr } = await r.run("upgrade cluster prod-eu-1 --version v1.37.1");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^✔ cluster prod-eu-1: commit /);
  assert.match(stderr, /-  version: v1\.36\.3\n\+  version: v1\.37\.1\n/);
  assert.match(await r.log(), /^Ada Upgrade cluster prod-eu-1 to Kubernetes v1\.37\.1\n/);
  assert.equal(await r.show(made[0] ?? ""), before);
  const head = await r.head();
  const skipped = await r.run("upgrade cluster prod-eu-1 --version v1.39.0");
  assert.match(skipped.stderr, /✗ VersionRefused: .*skips v1\.38/);
  const back = await r.run("upgrade cluster prod-eu-1 --set kubernetesVersion=v1.36.9");
  assert.match(back.stderr, /✗ VersionRefused: .*is a downgrade/);
  const same = await r.run("upgrade cluster prod-eu-1");
  assert.match(same.stdout, /^cluster prod-eu-1: nothing changes\n/);
  assert.equal(await r.head(), head);
});

test("upgrade takes a newer template over, and a secret that is given anew", async (t) => {
  const r = await repository(t, "newer.git");
  await r.create("prod-eu-1", "--offline");
  await r.edit("management/templates/lab.yaml", (text) =>
    text.replace(
      "replicas: {{parameters.replicas}}\n",
      "replicas: {{parameters.replicas}}\n        tier: gold\n",
    ),
  );
  const { code, stderr } = await r.run("upgrade cluster prod-eu-1");
  assert.equal(code, 0, stderr);
  assert.match(await r.show(made[1] ?? ""), /tier: gold\n?$/);
  await writeFile(r.secret, "another password\n");
  const secret = await r.run(`upgrade cluster prod-eu-1 --set-file adminPassword=${r.secret}`);
  assert.equal(secret.code, 0, secret.stderr);
  assert.match(await r.decrypt(made[0] ?? ""), /password: another password\n/);
});

test("a file that was edited by hand is refused with a diff, unless --overwrite", async (t) => {
  const r = await repository(t, "edited.git");
  await r.create("prod-eu-1", "--offline");
  await r.edit("management/clusters/prod-eu-1/cluster.yaml", (text) =>
    text.replace("env: dev", "env: odd"),
  );
  const head = await r.head();
  const refused = await r.run("upgrade cluster prod-eu-1 --set region=us");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /-    env: odd\n\+    region: us|-    env: odd\n/);
  assert.match(
    refused.stderr,
    /✗ FileEdited: changed by hand: management\/clusters\/prod-eu-1\/cluster\.yaml\n/,
  );
  assert.equal(await r.head(), head);
  const done = await r.run("upgrade cluster prod-eu-1 --set region=us --overwrite");
  assert.equal(done.code, 0, done.stderr);
  assert.match(await r.show("management/clusters/prod-eu-1/cluster.yaml"), /env: dev\n/);
});

test("G3 clusters that are made at the same time are all there, each with its rule", async (t) => {
  const r = await repository(t, "race.git");
  const names = ["a1", "b1", "c1", "d1"];
  const ran = await Promise.all(
    names.map((name) => r.run(`create cluster ${name} -t lab --offline --generate adminPassword`)),
  );
  for (const { code, stderr } of ran) assert.equal(code, 0, stderr);
  const rules = await r.show(".sops.yaml");
  const files = await r.files();
  for (const name of names) {
    assert.ok(rules.includes(`^config/clusters/${name}/`));
    assert.ok(files.includes(`management/clusters/${name}/cluster.yaml`));
  }
});

test("at a terminal what is missing is asked for, again when it will not do, a secret without echo", async (t) => {
  const r = await repository(t, "asked.git");
  const line = `capitan create cluster a1 -t lab --offline --repo ${r.url} --dry-run`;
  const { code, stdout } = await inTerminal(line, 160, {
    input: "tooFew\nenough-characters\n",
    env: r.env,
  });
  assert.equal(code, 0, stdout);
  const question = "adminPassword (What the Secret admin in the cluster holds): ";
  assert.equal(stdout.split(question).length, 3, stdout);
  assert.match(stdout, /✗ adminPassword: must have at least 8 characters\n/);
  assert.match(stdout, /password: \(encrypted\)/);
  // What is typed ahead, before the command runs, is the terminal's own to show.
  const shown = stdout.slice(stdout.indexOf(question));
  assert.ok(!shown.includes("tooFew") && !shown.includes("enough-characters"), shown);
});

test("two ways for one change are wrong usage", async (t) => {
  const r = await repository(t, "ways.git");
  const { code, stderr } = await r.create("a1", "--offline --dry-run --branch b");
  assert.equal(code, 2);
  assert.match(stderr, /say one of --output, --dry-run and --branch/);
});
