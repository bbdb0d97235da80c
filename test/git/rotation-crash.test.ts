import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { worldFiles, worldKeys } from "../../hack/lab/rotation-tree.ts";
import { RotationWorld, type Around } from "../../hack/lab/rotation-world.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { Crash, Writes, type CrashPoint } from "../harness/dying.ts";
import { GitLab } from "../harness/git.ts";

const names = ["one", "two"] as const;
const keys = worldKeys(names);
const signal = () => AbortSignal.timeout(120_000);

let git: GitLab;
let server: GitServer;
let dir: string;

before(async () => {
  git = await GitLab.make();
  dir = await mkdtemp(join(tmpdir(), "capitan-crash-"));
  server = await startGitHttp({ root: git.root });
  await git.init("template.git");
  const own = ["a.sops.yaml", "b.sops.yaml"];
  const edits = await worldFiles(keys, { own, shared: ["values.sops.yaml"] });
  const files = edits.map(({ path, content }) => [path, String(content)] as const);
  await git.commitFiles("template.git", Object.fromEntries(files));
});
after(async () => {
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
});

/** A rotation that has ended: its world, its repository, and how many writes it took. */
type Run = { readonly world: RotationWorld; readonly repository: string; readonly writes: number };

/** What Fleets, clusters and their Flux do meanwhile. Fails when a cluster cannot read what it is to run. */
async function live(world: RotationWorld): Promise<void> {
  await world.pin();
  await world.plant();
  await world.apply();
}

let worlds = 0;

/** A rotation from beginning to end, with a controller that is killed once at most. */
async function run(rollout: "Proven" | "Immediate", crash?: CrashPoint): Promise<Run> {
  const repository = `run-${worlds++}.git`;
  await git.git(".", ["clone", "-q", "--bare", "template.git", repository]);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  const writes = new Writes(crash);
  const around: Around = (deed, work) =>
    deed === "tip" ? Promise.resolve(work()) : writes.write(work);
  const url = `${server.url}/${repository}`;
  const world = new RotationWorld({
    ...keys,
    url,
    dir,
    rollout,
    managerToo: true,
    around,
  });
  await live(world);
  let controller = world.controller();
  for (let passes = 0; passes < 60; passes++) {
    try {
      await controller.reconcile("fleet/rotation", signal());
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      writes.revive();
      controller = world.controller();
    }
    if (world.rotation.status?.completedTime !== undefined)
      return { world, repository, writes: writes.count };
    await live(world);
  }
  throw new CapitanError("InternalError", JSON.stringify(world.rotation.status));
}

/** With real cryptography: the old key opens nothing at the tip, the new one opens all. */
async function assertRotated({ world }: Run): Promise<void> {
  const { files } = await world.tip();
  for (const name of names) {
    const { now, opens } = await world.openers(name, files);
    assert.ok(now !== "" && opens.size > 0);
    for (const [path, recipients] of opens) assert.deepEqual(recipients, [now], path);
    assert.deepEqual(Object.keys(world.planted.get(name) ?? {}), ["2.agekey"]);
    assert.ok(!world.secrets.has(`${name}-age-3`));
  }
  const managers = await world.managers();
  const states = managers.map(({ generation, state }) => `${generation} ${state}`);
  assert.deepEqual(states, ["1 retired", "2 active"]);
  const now = managers.at(-1)?.identity.recipient;
  const opens = await world.managerOpeners(files);
  assert.ok(opens.size > 4);
  for (const [path, recipients] of opens) assert.deepEqual(recipients, [now], path);
}

const commitsIn = ({ repository }: Run) => git.git(repository, ["rev-list", "--count", "main"]);

async function everyCrash(rollout: "Proven" | "Immediate", t: TestContext): Promise<void> {
  const undisturbed = await run(rollout);
  await assertRotated(undisturbed);
  const commits = await commitsIn(undisturbed);
  let plans = 0;
  for (let write = 1; write <= undisturbed.writes; write++)
    for (const when of ["before", "after"] as const) {
      const done = await run(rollout, { write, when });
      await assertRotated(done);
      assert.equal(await commitsIn(done), commits, `${when} write ${write}`);
      plans += 1;
    }
  t.diagnostic(`${plans} crashes`);
}

test("S7 killed before and after every write, commit and push, on real Git: a rotation ends right, with no commit too many", (t) =>
  everyCrash("Proven", t));

test("S7 the same for a rotation that waits for nothing", (t) => everyCrash("Immediate", t));

test("no cluster counts as gone before Clusters have been listed", async () => {
  const url = `${server.url}/template.git`;
  const world = new RotationWorld({ ...keys, url, dir, rollout: "Proven" });
  await live(world);
  world.knowsClusters = false;
  const controller = world.controller();
  await controller.reconcile("fleet/rotation", signal());
  const { status } = world.rotation;
  assert.deepEqual([status?.completedTime, status?.clusters], [undefined, []]);
  assert.match(JSON.stringify(status?.conditions), /no Clusters yet/);
});
