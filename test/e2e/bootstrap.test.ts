import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { parse } from "yaml";
import { startGitHttp } from "../../hack/lab/git-http.ts";
import { startGitSsh } from "../../hack/lab/git-ssh.ts";
import { root } from "../../hack/lab/paths.ts";
import { stop } from "../../hack/lab/processes.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { controllerAccount, systemNamespace } from "../../pkg/install/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { run } from "../harness/cli.ts";
import { GitLab, newKeyPair, startAgent, temporary } from "../harness/git.ts";
import { deleteNow, fleetReady, resources, sharedLab, until } from "../harness/index.ts";
import {
  accountKubeconfig,
  startOwnController,
  startOwnHub,
  stopOwnHub,
  tellCluster,
  type OwnHub,
} from "../harness/own-hub.ts";
import { portOf, proxy, type Seen } from "../harness/servers.ts";

/** A hub without Capitan, and empty repositories. Each test has a repository and a namespace of its own. */
const main = join(root, "cmd", "capitan", "main.ts");
const controllerProcess = "controller-bootstrap";
const basic = `Basic ${btoa("robot:s3cr3t-password")}`;
/** The hub has one controller; nobody's bootstrap takes another's namespace away from it. */
const namespaces = ["fleet", "clone", "dirt", "login", "protected", "killed-0", "killed-1"];
const served = namespaces.flatMap((name) => ["--platform-namespace", name]);
const image = `registry.example/capitan@sha256:${"a".repeat(64)}`;

let lab: LabFile;
let hub: OwnHub;
let git: GitLab;
let plain: string;
const closing: (() => Promise<unknown>)[] = [];

before(async () => {
  lab = await sharedLab();
  hub = await startOwnHub(lab, "boothub", lab.ports.lastWorkload - 6);
  git = await GitLab.make();
  plain = (await http()).url;
});
after(async () => {
  await stop(lab.dir, controllerProcess);
  for (const close of closing) await close();
  await git.remove();
  await stopOwnHub(lab, hub);
});

async function http(authorization?: string) {
  const more = authorization === undefined ? {} : { authorization };
  const server = await startGitHttp({ root: git.root, ...more });
  closing.push(server.close);
  return server;
}

async function repository(name: string): Promise<string> {
  await git.init(name);
  await git.git(name, ["config", "http.receivepack", "true"]);
  await git.git(name, ["config", "receive.denyNonFastForwards", "true"]);
  return name;
}

/** A person with a home of their own, and a git that knows their name. */
async function person(t: TestContext, config = "", more: Record<string, string> = {}) {
  const home = await temporary(t);
  await mkdir(join(home, ".ssh"), { mode: 0o700 });
  const known = "[user]\n\tname = Ada Lovelace\n\temail = ada@example.test\n";
  await writeFile(join(home, ".gitconfig"), `${known}${config}`);
  const env: Record<string, string | undefined> = {
    HOME: home,
    XDG_CONFIG_HOME: undefined,
    XDG_CACHE_HOME: join(home, "cache"),
    GIT_CONFIG_NOSYSTEM: "1",
    SSH_AUTH_SOCK: undefined,
    KUBECONFIG: hub.kubeconfigFile,
    ...more,
  };
  const at = (directory: string, more: Record<string, string | undefined> = {}) => ({
    cwd: directory,
    env: { ...env, ...more },
  });
  const bootstrap = (args: readonly string[], how = at(home)) =>
    run(process.execPath, [main, "bootstrap", "--image", image, ...served, ...args], how);
  const type = async (directory: string, ...words: readonly string[]) => {
    const ran = await run("git", words, at(directory));
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stdout.trim();
  };
  return { home, at, bootstrap, type };
}

const files = async (name: string, branch = "main") =>
  (await git.git(name, ["ls-tree", "-r", "--name-only", branch])).split("\n");
const commits = async (name: string, branch = "main") =>
  Number(await git.git(name, ["rev-list", "--count", branch]));
const layout = [
  ".capitan.yaml",
  ".gitignore",
  ".sops.yaml",
  "README.md",
  "management/capitan/install.yaml",
  "management/platform.yaml",
];

test("from nothing over SSH: layout, keys, Capitan, a read-only deploy key; then Git decides; twice changes nothing", async (t) => {
  const name = await repository("ssh.git");
  const [own, hostKey] = [newKeyPair("ed25519"), newKeyPair("ed25519")];
  const readers: string[] = [];
  const server = await startGitSsh({
    root: git.root,
    hostKeys: [hostKey.private],
    deployKey: own.public,
    writable: true,
    readers,
  });
  closing.push(server.close);
  await tellCluster(hub.client, { namespace: "elsewhere", name: "none" }, "none");
  const { home, bootstrap } = await person(t);
  const url = `ssh://git@${server.host}/${name}`;
  const unknown = await bootstrap(["--repo", url]);
  assert.match(unknown.stderr, /GitDenied: .*there is no agent, no ~\/\.ssh\/id_ed25519/);
  await writeFile(join(home, ".ssh", "id_ed25519"), own.private, { mode: 0o600 });
  const stranger = await bootstrap(["--repo", url]);
  assert.match(stranger.stderr, /HostKeyRefused: .*known_hosts has no key of this host/);
  const port = server.host.split(":")[1];
  const known = `[127.0.0.1]:${port} ${hostKey.public}\nother.example ${hostKey.public}\n`;
  await writeFile(join(home, ".ssh", "known_hosts"), known);

  const dry = await bootstrap(["--repo", url, "--dry-run"]);
  assert.match(dry.stdout, /Secret fleet\/manager-key: would create\n.*Nothing was done\.\n$/s);
  assert.equal(await git.git(name, ["for-each-ref"]), "");

  const first = await bootstrap(["--repo", url]);
  assert.deepEqual([first.code, first.stderr], [0, ""]);
  assert.deepEqual((await files(name)).sort(), layout);
  assert.equal(await commits(name), 1);
  await git.git(name, ["fsck", "--strict"]);
  const key = /^ {2}(ssh-ed25519 \S+ capitan platform)$/m.exec(first.stdout)?.[1] ?? "";
  assert.match(first.stdout, /The hub cannot read .* yet\. Add this deploy key, read-only, at /);
  const copy = await readFile(join(home, "manager.agekey"), "utf8");
  const recipient = /public key: (age1\w+)/.exec(copy)?.[1] ?? "?";
  assert.ok((await git.git(name, ["show", "main:.sops.yaml"])).includes(recipient));
  const everything = await git.git(name, ["log", "-p", "--all"]);
  assert.doesNotMatch(`${everything}${first.stdout}`, /PRIVATE KEY|AGE-SECRET-KEY/);
  const secret = await hub.client.get(resources.secret, {
    namespace: "fleet",
    name: "platform-git",
  });
  const hosts = atob(asString(asMap(secret?.["data"])["known_hosts"]) ?? "");
  assert.match(hosts, /^\[127\.0\.0\.1\]:\d+ ssh-ed25519 \S+\n$/);

  const fewer = await run(
    process.execPath,
    [main, "bootstrap", "--repo", `${plain}/${await repository("fewer.git")}`, "-n", "fewer"],
    { cwd: home, env: { HOME: home, KUBECONFIG: hub.kubeconfigFile } },
  );
  assert.match(fewer.stderr, /AlreadyExists: .*would be dropped: clone, dirt, fleet, killed-0/);

  // The owner of the repository adds the key; what it may do, the server decides.
  readers.push(key);
  const account = { namespace: systemNamespace, name: controllerAccount };
  await startOwnController(lab, {
    process: controllerProcess,
    kubeconfig: await accountKubeconfig(lab, hub, account),
    args: [join(root, "cmd/controller/main.ts"), "--platform-namespace", "fleet"],
  });
  await fleetReady(hub.client, "platform");
  const again = await bootstrap(["--repo", url, "-o", "json"]);
  assert.equal(again.code, 0, again.stderr);
  const result = JSON.parse(again.stdout) as { changed: boolean; hub: { canRead: boolean } };
  assert.deepEqual([result.changed, result.hub.canRead], [false, true], again.stdout);
  assert.equal(await commits(name), 1);

  const config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-git, namespace: fleet}\n";
  const clone = join(home, "clone");
  await git.git(name, ["clone", "-q", join(git.root, name), clone]);
  await writeFile(join(clone, "management", "more.yaml"), config);
  for (const words of [
    ["add", "-A"],
    ["commit", "-qm", "More"],
    ["push", "-q", "origin", "main"],
  ])
    await git.git(name, ["-C", clone, ...words]);
  const reconciled = await run(
    process.execPath,
    [main, "reconcile", "fleet", "platform", "-n", "fleet"],
    { env: { KUBECONFIG: hub.kubeconfigFile } },
  );
  assert.equal(reconciled.code, 0, reconciled.stderr);
  await until(() => hub.client.get(resources.configMap, { namespace: "fleet", name: "from-git" }), {
    deadlineMs: 20_000,
    what: "what was pushed to be on the hub",
  });
  assert.deepEqual(
    server.commands.filter((command) => !/^git-(upload|receive)-pack '\/ssh\.git'$/.test(command)),
    [],
  );
  await stop(lab.dir, controllerProcess);
});

test("in a clone the repository is known, the commit is signed, and the clone has it afterwards", async (t) => {
  const name = await repository("clone.git");
  const signing = "[gpg]\n\tformat = ssh\n[commit]\n\tgpgsign = true\n";
  const { home, at, bootstrap, type } = await person(t, signing);
  const unsigned = await bootstrap(["--repo", `${plain}/${name}`, "-n", "clone"]);
  assert.match(unsigned.stderr, /GitIdentityMissing: .*user\.signingkey is not set/);
  const key = join(home, "signing key");
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  await type(home, "config", "--global", "user.signingkey", key);
  const publicKey = (await readFile(`${key}.pub`, "utf8")).trim();
  await writeFile(join(home, "allowed"), `ada@example.test ${publicKey}\n`);
  await type(home, "config", "--global", "gpg.ssh.allowedSignersFile", join(home, "allowed"));
  const clone = join(home, "clone");
  await type(home, "clone", "-q", `${plain}/${name}`, clone);
  const first = await bootstrap(["--repo", `${plain}/${name}`, "-n", "clone"], at(clone));
  assert.deepEqual([first.code, first.stderr], [0, "► this clone has the commit now\n"]);
  assert.equal(await type(clone, "status", "--porcelain"), "");
  const verified = await run("git", ["verify-commit", "HEAD"], at(clone));
  assert.match(verified.stderr, /Good "git" signature for ada@example\.test with ED25519 key/);
  assert.equal(
    await type(clone, "log", "-1", "--format=%an <%ae>"),
    "Ada Lovelace <ada@example.test>",
  );
  assert.equal(await type(clone, "check-ignore", "manager.agekey"), "manager.agekey");
  const { url } = parse(await readFile(join(clone, ".capitan.yaml"), "utf8")) as { url: string };
  assert.equal(url, `${plain}/${name}`);
  await mkdir(join(clone, "deep"));
  const second = await bootstrap([], at(join(clone, "deep")));
  assert.deepEqual([second.code, second.stderr], [0, ""]);
  assert.match(second.stdout, /Nothing was changed/);
  assert.equal(await commits(name), 1);

  // The hub is lost. Without the copy no other key is made; with it all is as it was.
  const lost = { namespace: "clone", name: "manager-key" };
  await deleteNow(hub.client, resources.secret, lost);
  const without = await bootstrap([], at(join(clone, "deep")));
  assert.match(without.stderr, /SecretNotFound: .*neither in Secret clone\/manager-key nor in man/);
  assert.equal(await hub.client.get(resources.secret, lost), undefined);
  const back = await bootstrap([], at(clone));
  assert.match(back.stdout, /Secret clone\/manager-key: created from manager\.agekey\n/);
  assert.equal(await commits(name), 1);
});

test("G3 a clone with dirt or commits of its own loses nothing, and is told what to type", async (t) => {
  const name = await repository("dirt.git");
  await git.commitFiles(name, { "README.md": "theirs\n", "app/a.txt": "1\n" });
  // Everybody here signs with a key that only the agent has.
  const key = newKeyPair("ed25519");
  const { home, at, bootstrap, type } = await person(
    t,
    `[gpg]\n\tformat = ssh\n[commit]\n\tgpgsign = true\n[user]\n\tsigningkey = key::${key.public}\n`,
    { SSH_AUTH_SOCK: await startAgent(t, key.private) },
  );
  await writeFile(join(home, "allowed"), `ada@example.test ${key.public}\n`);
  await type(home, "config", "--global", "gpg.ssh.allowedSignersFile", join(home, "allowed"));
  const url = `${plain}/${name}`;
  const [dirty, ahead, other, inTheWay] = ["dirty", "ahead", "other", "way"].map((d) =>
    join(home, d),
  ) as [string, string, string, string];
  for (const clone of [dirty, ahead, other, inTheWay]) await type(home, "clone", "-q", url, clone);
  await writeFile(join(dirty, "app", "a.txt"), "not yet\n");
  await writeFile(join(dirty, "new.txt"), "mine\n");
  await writeFile(join(ahead, "own.txt"), "mine\n");
  await type(ahead, "add", "-A");
  await type(ahead, "commit", "-qm", "Own");
  const own = await type(ahead, "rev-parse", "HEAD");
  await type(other, "checkout", "-qb", "work");
  await writeFile(join(inTheWay, ".sops.yaml"), "mine: true\n");

  const first = await bootstrap(["--repo", url, "-n", "dirt"], at(dirty));
  assert.deepEqual([first.code, first.stderr], [0, "► this clone has the commit now\n"]);
  await type(dirty, "verify-commit", "HEAD");
  assert.equal(await readFile(join(dirty, "app", "a.txt"), "utf8"), "not yet\n");
  assert.equal(await readFile(join(dirty, "new.txt"), "utf8"), "mine\n");
  assert.equal(await git.git(name, ["show", "main:README.md"]), "theirs");
  assert.equal(await git.git(name, ["show", "main:app/a.txt"]), "1");

  // Each finds something to push once more: one of the files is taken away again.
  const out = join(dirty, "manager.agekey");
  const once = async (clone: string) => {
    await type(dirty, "pull", "-q");
    await type(dirty, "rm", "-q", ".gitignore");
    await type(dirty, "commit", "-qm", "Take it away");
    await type(dirty, "push", "-q");
    const ran = await bootstrap(["--repo", url, "-n", "dirt", "--out", out], at(clone));
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stderr;
  };
  assert.match(
    await once(ahead),
    /left as it is: it has commits that are not pushed: 1; type: git pull --rebase origin main\n/,
  );
  assert.equal(await type(ahead, "rev-parse", "HEAD"), own);
  assert.match(
    await once(other),
    /left as it is: branch work is checked out, not main; type: git fetch origin main\n/,
  );
  assert.match(
    await once(inTheWay),
    /left as it is: .*\.sops\.yaml.*; type: git pull --ff-only origin main, after you have committed or stashed/s,
  );
  assert.equal(await readFile(join(inTheWay, ".sops.yaml"), "utf8"), "mine: true\n");
  await type(ahead, "pull", "-q", "--rebase", "origin", "main");
  await type(ahead, "push", "-q");
  await git.git(name, ["fsck", "--strict"]);
});

test("G3 a helper's password is used, approved when it is good, forgotten when it is not; so is a token", async (t) => {
  const name = await repository("login.git");
  const { url: base } = await http(basic);
  const url = `${base}/${name}`;
  const { home, at, bootstrap } = await person(t);
  const helper = join(home, "helper");
  await writeFile(
    helper,
    `#!/bin/sh\necho "$1" >> ${home}/asked\ncat >> ${home}/asked\n[ "$1" = get ] && cat ${home}/answer\nexit 0\n`,
  );
  await chmod(helper, 0o755);
  await writeFile(
    join(home, ".gitconfig"),
    `[credential]\n\thelper = ${helper}\n[user]\n\tname = Ada\n\temail = a@example.test\n`,
  );
  const asked = async () => {
    const text = await readFile(join(home, "asked"), "utf8");
    await writeFile(join(home, "asked"), "");
    return text;
  };
  const args = ["--repo", url, "-n", "login", "--hub-url", url];
  await writeFile(join(home, "answer"), "username=robot\npassword=s3cr3t-wrong\n");
  const wrong = await bootstrap(args);
  assert.match(
    wrong.stderr,
    /^✗ GitDenied: .*HTTP 401; the configured credentials were not accepted\n {2}→ /,
  );
  const host = new URL(url).host;
  assert.match(await asked(), new RegExp(`get\n(?:.*\n)*host=${host}\n(?:.*\n)*erase\n`));
  await writeFile(join(home, "answer"), "username=robot\npassword=s3cr3t-password\n");
  const closed = await bootstrap(args);
  assert.match(closed.stderr, /GitDenied: .*not readable by everybody: set CAPITAN_HUB_GIT_TOKEN/);
  assert.match(await asked(), /get\n(?:.*\n)*store\n/);
  const withLogin = `http://robot:s3cr3t-password@${host}/${name}`;
  const inUrl = await bootstrap(["--repo", withLogin, "-n", "login"]);
  assert.match(inUrl.stderr, /RefInvalid: .*a login in the URL is seen by everybody/);
  const elsewhere = { CAPITAN_GIT_TOKEN: "s3cr3t-password", CAPITAN_GIT_HOST: "other.example" };
  await writeFile(join(home, "answer"), "");
  const notSent = await bootstrap(args, at(home, elsewhere));
  assert.match(notSent.stderr, /GitDenied: .*HTTP 401; no credentials are configured/);
  await asked();
  const wrongToken = await bootstrap(args, at(home, { CAPITAN_GIT_TOKEN: "s3cr3t-other" }));
  assert.match(wrongToken.stderr, /GitDenied: .*HTTP 401/);
  assert.equal(await asked(), "");
  const tokens = {
    CAPITAN_GIT_TOKEN: "s3cr3t-password",
    CAPITAN_GIT_USERNAME: "robot",
    CAPITAN_HUB_GIT_TOKEN: "s3cr3t-read",
  };
  const done = await bootstrap(args, at(home, tokens));
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual((await files(name)).sort(), layout);
  const secret = await hub.client.get(resources.secret, {
    namespace: "login",
    name: "platform-git",
  });
  assert.equal(atob(asString(asMap(secret?.["data"])["password"]) ?? ""), "s3cr3t-read");
  for (const { stdout, stderr } of [wrong, closed, inUrl, wrongToken, done])
    assert.doesNotMatch(`${stdout}${stderr}`, /s3cr3t/);
});

test("G3 nobody's commit, a protected main and a remote that is down are said before the hub is touched or after nothing is lost", async (t) => {
  const name = await repository("protected.git");
  const { home, at, bootstrap, type } = await person(t);
  await writeFile(join(home, ".gitconfig"), "");
  const args = ["--repo", `${plain}/${name}`, "-n", "protected"];
  const nobody = await bootstrap(args);
  assert.match(
    nobody.stderr,
    /GitIdentityMissing: git does not know your name\n {2}→ .*git config --global/,
  );
  const badAuthor = await bootstrap([...args, "--author", "Ada"]);
  assert.match(badAuthor.stderr, /GitIdentityMissing: --author "Ada" is no NAME <EMAIL>/);
  await type(home, "config", "--global", "user.name", "Ada");
  await type(home, "config", "--global", "user.email", "ada@example.test");
  const down = await bootstrap(["--repo", "http://127.0.0.1:1/x.git", "-n", "protected"]);
  assert.match(down.stderr, /GitUnreachable: .*ECONNREFUSED/);
  const key = { namespace: "protected", name: "manager-key" };
  assert.equal(await hub.client.get(resources.secret, key), undefined);

  const hook = join(git.root, name, "hooks", "pre-receive");
  await writeFile(hook, "#!/bin/sh\necho 'main takes merges only' >&2\nexit 1\n");
  await chmod(hook, 0o755);
  const refused = await bootstrap(args, at(home));
  assert.match(
    refused.stderr,
    /GitPushRejected: .*branch main: pre-receive hook declined; the server says: main takes merges only\n {2}→ .*--branch NAME/,
  );
  assert.equal(await git.git(name, ["for-each-ref"]), "");
  const fleet = { namespace: "protected", name: "platform" };
  assert.equal(await hub.client.get(resources.fleet, fleet), undefined);
  await writeFile(hook, "#!/bin/sh\nexit 0\n");
  const done = await bootstrap(args, at(home));
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /Secret protected\/manager-key: unchanged\n/);
  assert.equal(await commits(name), 1);
});

const moments = ["push, before the answer", "clone"] as const;
for (const moment of moments) {
  test(`G3 bootstrap is killed at: ${moment}. Remote and clone are whole, and the next run ends it`, async (t) => {
    const at = moments.indexOf(moment);
    const name = await repository(`killed-${at}.git`);
    let pushes = 0;
    let child: ReturnType<typeof spawn> | undefined;
    const isMoment = ({ method, path }: Seen) => {
      if (method === "POST" && path.endsWith("/git-receive-pack")) pushes++;
      if (moment === "clone") return pushes === 1 && path.endsWith("service=git-upload-pack");
      return method === "POST" && path.endsWith("/git-receive-pack") && pushes === 1;
    };
    const server = await proxy(plain.slice("http://".length), async (seen, pass) => {
      if (!isMoment(seen) || child === undefined) return pass();
      if (moment !== "clone") await pass();
      const dead = child;
      child = undefined;
      dead.kill("SIGKILL");
      throw new Error("nobody is there");
    });
    closing.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    const someone = await person(t);
    const url = `http://127.0.0.1:${portOf(server)}/${name}`;
    const clone = join(someone.home, "clone");
    await someone.type(someone.home, "clone", "-q", url, clone);
    const args = ["--repo", url, "-n", `killed-${at}`];
    const { cwd, env } = someone.at(clone);
    const started = spawn(
      process.execPath,
      [main, "bootstrap", "--image", image, ...served, ...args],
      {
        cwd,
        env: { ...process.env, ...env },
        stdio: "ignore",
      },
    );
    const ended = new Promise((resolve) => started.once("close", (_code, sent) => resolve(sent)));
    child = started;
    assert.equal(await ended, "SIGKILL");
    await git.git(name, ["fsck", "--strict"]);
    await someone.type(clone, "fsck", "--strict");
    const refs = await git.git(name, ["for-each-ref", "--format=%(refname)"]);
    assert.equal(refs, "refs/heads/main");
    const again = await someone.bootstrap(args, someone.at(clone));
    assert.equal(again.code, 0, again.stderr);
    assert.equal(await commits(name), 1);
    assert.deepEqual((await files(name)).sort(), layout);
    await someone.type(clone, "pull", "-q", "--ff-only", "origin", "main");
    assert.equal(await someone.type(clone, "status", "--porcelain"), "");
  });
}
