// Rotations that everything goes against: the controller, the hub and a cluster die under them, main is
// protected, people edit the same files, clusters go and come. Real controllers, kustomize-controllers, Git, sops.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { deleteCluster } from "../../hack/lab/clusters.ts";
import { freezeServer, restartServer, thawServer } from "../../hack/lab/faults.ts";
import { startGitSsh } from "../../hack/lab/git-ssh.ts";
import { signal } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import { newKeyPair } from "../harness/git.ts";
import { deleteNow, namespace, resources, until } from "../harness/index.ts";
import { encrypted } from "../harness/secrets.ts";
import {
  fileOf,
  manifestOf,
  repository,
  RotationLab,
  type Status,
} from "../harness/rotation-lab.ts";

const [one, two] = ["keys-1", "keys-2"] as const;
const both = [one, two] as const;
let world: RotationLab;

before(async () => {
  world = await RotationLab.start();
  await world.addClusters(both);
});
after(() => world.stop());

/** Kills the controller whenever anything in the status of a rotation has changed, until it is complete. */
async function killAtEveryChange(rotation: string) {
  const seen = new Set<string>();
  let last = "";
  let kills = 0;
  await until(
    async () => {
      const status = await world.status(rotation);
      const now = JSON.stringify(status);
      if (now === last) return status?.completedTime !== undefined;
      last = now;
      for (const { state, reason } of status?.clusters ?? []) seen.add(reason ?? state);
      await world.killController();
      kills += 1;
      throw new Error(now);
    },
    { deadlineMs: 400_000, what: `rotation ${rotation} to complete`, everyMs: 10 },
  );
  return { kills, seen };
}

/** The commits that Capitan has made on main. */
const commits = async () =>
  Number(
    await world.git.git(repository, [
      "rev-list",
      "--count",
      "--author=capitan@capitan.dev",
      "main",
    ]),
  );

/** Watches until the test has ended. */
function watch(t: TestContext): ReturnType<RotationLab["watch"]> {
  const watcher = world.watch();
  t.after(() => watcher.end());
  return watcher;
}

/** Nobody was ever without a key for a file, and somebody looked. */
async function neverLockedOut(
  t: TestContext,
  watcher: ReturnType<RotationLab["watch"]>,
): Promise<void> {
  assert.deepEqual(await watcher.end(), []);
  assert.ok(watcher.looks > 50, `${watcher.looks} looks`);
  t.diagnostic(`${watcher.looks} looks at what clusters can open`);
}

/** Where something is written; what is waited for in between may be over before anybody looks. */
const phases = {
  Proven: [["Creating", "Adding", "Removing", "Ending", "Retiring"], []],
  Immediate: [["Creating", "Removing", "Ending", "Retiring"], ["--immediate"]],
} as const;

for (const [rollout, [passed, flags]] of Object.entries(phases))
  test(
    `S7 killed by SIGKILL whenever its status changes, a rotation ends right: ${rollout}`,
    // Each start of a controller is seconds of one core.
    { timeout: 480_000 },
    async (t) => {
      const watcher = watch(t);
      const generation = (await world.generation(one)) + 1;
      const before = await commits();
      const { kills, seen } = await killAtEveryChange(await world.rotate(both, ...flags));
      t.diagnostic(`${kills} kills, at ${[...seen].join(", ")}`);
      for (const name of both) await world.isRotated(name, generation);
      await neverLockedOut(t, watcher);
      for (const phase of passed) assert.ok(seen.has(phase), `never at ${phase}`);
      assert.ok(kills >= passed.length, `${kills} kills`);
      // One commit, or two, for each of two clusters that may not be ready at the same time.
      const made = (await commits()) - before;
      assert.ok(made <= (rollout === "Proven" ? 4 : 2), `${made} commits`);
    },
  );

/** Makes the kustomize-controller of a cluster stand still, so that a rotation stands between its two commits. */
async function hold(t: TestContext, name: string): Promise<() => Promise<void>> {
  const process = `kustomize-controller-${name}`;
  const go = () => signal(world.lab.dir, process, "SIGCONT");
  t.after(go);
  await signal(world.lab.dir, process, "SIGSTOP");
  return go;
}

test("S7 a cluster hangs and the hub's API server dies in the middle: the others go on, and then it does", async (t) => {
  const watcher = watch(t);
  const generation = (await world.generation(one)) + 1;
  const go = await hold(t, two);
  const rotation = await world.rotate(both);
  await world.waits(rotation, two, "AwaitingApply");
  await freezeServer(world.lab, two);
  t.after(() => thawServer(world.lab, two));
  await world.waits(rotation, two, "ClusterAway");
  await restartServer(world.lab, "hub");
  const isDone = ({ clusters }: Status) =>
    clusters?.find(({ name }) => name === one)?.state === "Done";
  const status = await world.becomes(rotation, `to be done with ${one}`, isDone);
  const hanging = status.clusters?.find(({ name }) => name === two);
  assert.match(hanging?.message ?? "", /^keys-2 does not answer/);
  assert.equal(status.summary, "1/2 proven, 1 done");
  await thawServer(world.lab, two);
  await go();
  await world.complete(rotation);
  for (const name of both) await world.isRotated(name, generation);
  await neverLockedOut(t, watcher);
});

/** Nobody pushes to main, as on a server that protects it. */
async function protect(t: TestContext): Promise<void> {
  const hook = join(world.git.root, repository, "hooks", "pre-receive");
  const lines = [
    "#!/bin/sh",
    "while read old new ref; do",
    '  if [ "$ref" = refs/heads/main ]; then echo "main is protected" >&2; exit 1; fi',
    "done",
  ];
  await writeFile(hook, `${lines.join("\n")}\n`);
  await chmod(hook, 0o755);
  t.after(() => rm(hook));
}

/** What the button "merge" does: nobody pushes. */
async function merge(branch: string): Promise<void> {
  const work = `merge-${branch.replaceAll("/", "-")}`;
  await world.git.git(".", ["clone", "-q", repository, work]);
  await world.git.git(work, ["merge", "-q", "--no-edit", `origin/${branch}`]);
  await world.git.git(repository, ["fetch", "-q", `../${work}`, "main:main"]);
}

const branchIn = ({ clusters }: Status) =>
  /merge branch (\S+)/.exec(clusters?.find(({ name }) => name === one)?.message ?? "")?.[1];

test("S9 main is protected and the credential is an SSH key: a push is refused and said, branches are proposed and merged", async (t) => {
  const watcher = watch(t);
  await protect(t);
  const [hostKey, deployKey] = [newKeyPair("ed25519"), newKeyPair("ed25519")];
  const keys = { hostKeys: [hostKey.private], deployKey: deployKey.public };
  const server = await startGitSsh({ root: world.git.root, writable: true, ...keys });
  t.after(() => server.close());
  const known_hosts = `[127.0.0.1]:${server.host.split(":")[1]} ${hostKey.public}\n`;
  await world.secret("git-ssh", { identity: deployKey.private, known_hosts });
  const where = ["--repo", `ssh://git@${server.host}/${repository}`, "--secret", "git-ssh"];
  const before = await world.git.git(repository, ["rev-parse", "main"]);

  const refused = await world.rotate([one], ...where);
  const readyOf = ({ conditions }: Status) => conditionOf(conditions, "Ready");
  const is = (status: Status) => readyOf(status)?.reason === "GitPushRejected";
  const status = await world.becomes(refused, "to be refused", is);
  assert.match(readyOf(status)?.message ?? "", /main is protected/);
  assert.equal(await world.git.git(repository, ["rev-parse", "main"]), before);
  await deleteNow(world.hub, resources.keyRotation, { namespace, name: refused });

  const rotation = await world.rotate([one], ...where, "--delivery", "Branch");
  const first = await world.becomes(rotation, "to propose", (s) => branchIn(s) !== undefined);
  const branch = branchIn(first) ?? "";
  assert.match(branch, /^capitan\/rotate-/);
  await merge(branch);
  const isNext = (s: Status) => branchIn(s) !== undefined && branchIn(s) !== branch;
  const second = await world.becomes(rotation, "to propose the removal", isNext);
  await merge(branchIn(second) ?? "");
  await world.complete(rotation);
  await world.isRotated(one, await world.generation(one));
  assert.ok(server.commands.some((command) => command.startsWith("git-receive-pack")));
  await neverLockedOut(t, watcher);
});

/** A person with a clone, and the real sops with the manager's key. */
async function somebody(work: string) {
  await world.git.git(".", ["clone", "-q", repository, work]);
  const sops = await ensureTool("sops", silent);
  const cwd = join(world.git.root, work);
  const env = { PATH: process.env["PATH"], HOME: cwd, SOPS_AGE_KEY: world.manager.identity };
  return {
    git: (...args: readonly string[]) => world.git.git(work, args),
    sops: (...args: readonly string[]) => promisify(execFile)(sops, args, { cwd, env }),
  };
}

test("S9 somebody sets a value and rotates a file with the real sops in the middle: both stay, and the old key goes", async (t) => {
  const watcher = watch(t);
  const generation = (await world.generation(one)) + 1;
  const ada = await somebody("ada");
  const go = await hold(t, one);
  const rotation = await world.rotate([one]);
  await world.waits(rotation, one, "AwaitingApply");
  await ada.sops("set", fileOf(one), '["stringData"]["word"]', '"by-hand"');
  await ada.git("commit", "-qam", "another word, from before the rotation");
  await ada.git("pull", "-q", "--no-rebase", "--no-edit");
  await ada.git("push", "-q", "origin", "HEAD:main");
  await ada.sops("rotate", "-i", fileOf(one));
  await ada.git("commit", "-qam", "another data key");
  await ada.git("push", "-q", "origin", "HEAD:main");
  await go();
  await world.complete(rotation);
  await world.isRotated(one, generation);
  await world.opens(one, "by-hand");
  await neverLockedOut(t, watcher);
});

test("S7 a cluster is deleted in the middle and let go, and created anew it begins with the keys that are there", async (t) => {
  const watcher = watch(t);
  const generation = (await world.generation(two)) + 1;
  const go = await hold(t, one);
  const rotation = await world.rotate(both);
  await world.waits(rotation, one, "AwaitingApply");
  const ofTwo = ({ clusters }: Status) => clusters?.find(({ name }) => name === two);
  const proven = await world.becomes(
    rotation,
    `to have a proof of ${two}`,
    (status) => ofTwo(status)?.proof?.generation === generation,
  );
  const before = ofTwo(proven)?.proof?.uid;
  await world.forget(two);
  await deleteCluster(world.hub, { namespace, name: two });
  await world.becomes(rotation, `to let ${two} go`, (status) => ofTwo(status)?.state === "Gone");
  await world.createAgain(two);
  const anew = await world.becomes(rotation, `to go on with ${two}`, (status) => {
    const found = ofTwo(status);
    return found?.proof?.generation === generation && found.proof.uid !== before;
  });
  const system = await world.clusters.get(two)?.client.get(resources.namespace, {
    name: "kube-system",
  });
  assert.equal(ofTwo(anew)?.proof?.uid, system?.metadata.uid);
  await go();
  await world.complete(rotation);
  await world.isRotated(two, generation);
  await neverLockedOut(t, watcher);
});

test("who watches would have seen it: a file that a cluster cannot open is told, and so is what its Flux says", async (t) => {
  const watcher = watch(t);
  const path = `clusters/${one}/strange.sops.yaml`;
  const text = manifestOf("strange", "none");
  await world.commit({ [path]: await encrypted(text, path, [world.manager.recipient]) });
  const wanted = [`${one} cannot open ${path} of `, `${one}: `];
  const check = () => {
    const missing = wanted.find((what) => !watcher.seen.some((seen) => seen.startsWith(what)));
    if (missing !== undefined) throw new Error(`${missing}: ${JSON.stringify(watcher.seen)}`);
    return true;
  };
  await until(check, { deadlineMs: 60_000, what: "the watcher to see both" });
});
