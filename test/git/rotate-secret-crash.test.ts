import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import type {
  Fleet,
  FleetMember,
  FleetRevision,
  RevisionLayer,
  SecretRotation,
} from "../../pkg/api/index.ts";
import { SecretRotationReconciler } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { changeValue, formatValuePath, type ChangedValue } from "../../pkg/secretrotation/index.ts";
import { generateIdentity, parseIdentities } from "../../pkg/sops/index.ts";
import { Crash, Writes, type CrashPoint } from "../harness/dying.ts";
import { GitLab } from "../harness/git.ts";
import { encrypted } from "../harness/secrets.ts";

const namespace = "fleet";
/** One cluster decrypts by itself, for the other the hub does. */
const names = ["synced", "opened"] as const;
const repository = "values.git";
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const signal = () => AbortSignal.timeout(120_000);
const pathOf = (cluster: string) => `clusters/${cluster}/db.sops.yaml`;

let git: GitLab;
let server: GitServer;
let dir: string;
let old: string;
let fresh: string;
let changed: readonly ChangedValue[];

before(async () => {
  git = await GitLab.make();
  dir = await mkdtemp(join(tmpdir(), "capitan-value-crash-"));
  server = await startGitHttp({ root: git.root });
  await git.init(repository);
  const manager = generateIdentity(randomBytes);
  const identities = await parseIdentities(manager.identity, "the manager");
  const text =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {word: old}\n";
  const files: Record<string, string> = {};
  for (const name of names)
    files[pathOf(name)] = await encrypted(text, pathOf(name), [manager.recipient]);
  old = await git.commitFiles(repository, files);
  const chance = { random: randomBytes, now: () => new Date() };
  const work = names.map((name) => {
    const [path, bytes] = [pathOf(name), Buffer.from(files[pathOf(name)] ?? "")];
    return changeValue({ path, bytes, key: "word" }, { text: "new", identities }, chance);
  });
  changed = await Promise.all(work);
  const after = changed.map(({ path, file }) => [path, file.toString()]);
  fresh = await git.commitFiles(repository, Object.fromEntries(after) as Record<string, string>, {
    parent: old,
  });
});
after(async () => {
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
});

const url = () => `${server.url}/${repository}`;

/** What is left when a controller dies: the object, and two clusters with their workloads. */
class World {
  rotation: SecretRotation = rotationOf();
  /** What clusters are to run, and what they run. */
  pinned = old;
  running = old;
  /** Whether the hub's Clusters have been listed. */
  knowsClusters = true;
  readonly workloads = new Map(
    names.map((name) => [name as string, ["web", "jobs"].map(workload)] as const),
  );
  /** By cluster and workload: what the template of its pods was told, one after the other. */
  readonly told = new Map<string, string[]>();
  readonly writes: Writes;

  constructor(crash?: CrashPoint) {
    this.writes = new Writes(crash);
  }

  /** What server-side apply does to the template of the pods. */
  restart(cluster: string, { metadata }: KubeObject, value: string): boolean {
    const all = this.workloads.get(cluster) ?? [];
    const at = all.findIndex((each) => each.metadata.name === metadata.name);
    const annotations = { "capitan.dev/restarted-for": value };
    const spec = { template: { metadata: { annotations } } };
    const key = `${cluster}/${metadata.name}`;
    const before = this.told.get(key) ?? [];
    assert.notEqual(before.at(-1), value, "nothing is written that is there already");
    this.told.set(key, [...before, value]);
    all[at] = { ...workload(metadata.name), spec };
    return true;
  }
}

function workload(name: string): KubeObject {
  const annotations = { "capitan.dev/restart-on": "secret/db" };
  const metadata = { name, namespace: "shop", uid: name, annotations };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata, spec: { template: {} } };
}

function rotationOf(): SecretRotation {
  const files = changed.map(({ path, where, value, replaces, modified }) => ({
    path,
    key: formatValuePath(where),
    value,
    replaces,
    modified,
  }));
  const metadata = { namespace, name: "crash", generation: 1 };
  const spec = { repository: { url: url() }, commit: fresh, files, restart: true };
  return { apiVersion: "capitan.dev/v1alpha1", kind: "SecretRotation", metadata, spec };
}

/** A controller as it is wired, whose writes can be the last ones. */
function controllerOf(world: World): SecretRotationReconciler {
  const cache = new PackCache(dir, () => undefined);
  const cluster = ({ name }: { readonly name: string }) => ({
    namespace,
    name,
    uid: name,
    labels: {},
    paused: false,
    deleting: false,
    controlPlaneInitialized: true,
    context: { namespace, name } as never,
  });
  return new SecretRotationReconciler({
    hub: {
      cluster: (name) => (world.knowsClusters ? cluster(name) : undefined),
      fleet: (metadata): Fleet => ({
        apiVersion: "",
        kind: "Fleet",
        metadata,
        spec: { layers: [], serviceAccountName: "deployer" } as never,
      }),
      membersOn: ({ name }) => (name === "management" ? [] : [memberOf(name, world)]),
      revision: ({ name }) => Promise.resolve(revisionOf(name)),
    },
    rotations: {
      secretRotation: () => world.rotation,
      clusters: () => (world.knowsClusters ? names.map((name) => cluster({ name })) : []),
      writeStatus: (_, status) =>
        world.writes.write(() => {
          world.rotation = { ...world.rotation, status };
          return true;
        }),
      emit: () => Promise.resolve(),
    },
    checkHub: () =>
      world.knowsClusters
        ? Promise.resolve()
        : Promise.reject(new CapitanError("CapiVersionUnsupported", "no Clusters yet")),
    connections: {
      held: (key) => {
        const name = key.split("/")[1] ?? "";
        return {
          as: (user) => ({
            appliedRevision: () => Promise.resolve(`main@sha1:${world.running}`),
            workloadsIn: () => Promise.resolve([...(world.workloads.get(name) ?? [])]),
            restart: ({ workload: of, value }) => {
              assert.equal(user, "system:serviceaccount:fleet:deployer");
              return world.writes.write(() => world.restart(name, of, value));
            },
          }),
        };
      },
    },
    secrets: {
      secretAs: () => Promise.resolve(undefined),
      identitySecrets: () => Promise.resolve([]),
    },
    gitRepositories: (location, access) => new GitRepository(location, { ...access, cache }),
    repositories: () => assert.fail("no registry here"),
    tenancy: { platformNamespaces: new Set([namespace]) },
    clock: { now: () => new Date(), monotonicMs: () => performance.now(), random: Math.random },
    log: quiet,
  });
}

const memberOf = (name: string, { pinned, running }: World): FleetMember => ({
  apiVersion: "",
  kind: "FleetMember",
  metadata: { namespace, name },
  spec: {
    fleetRef: { namespace, name: "fleet" },
    clusterRef: { name },
    revision: `${name}-${pinned}`,
    state: "Present",
  },
  status: { observedGeneration: 1, currentRevision: `${name}-${running}` },
});

/** `CLUSTER-COMMIT`. */
function revisionOf(name: string): FleetRevision {
  const [cluster = "", commit = ""] = name.split("-");
  const base = {
    name: "layer",
    wait: false,
    timeout: "1m",
    deletionPolicy: "Orphan",
    dependsOn: [],
  } as const;
  const path = "./clusters/{{cluster.name}}";
  const decryption = { provider: "sops" } as const;
  const git = { url: url(), ref: { commit } };
  const flux = { url: "oci://none/none", digest: "", revision: "", version: "" };
  const layer: RevisionLayer =
    cluster === "synced"
      ? { ...base, flux: { ...flux, sync: { path, interval: "1m", decryption, git } } }
      : {
          ...base,
          path,
          git: { url: url(), commit, revision: "" },
          decryption: { ...decryption, secretRef: { name: "manager" } },
        };
  return {
    apiVersion: "",
    kind: "FleetRevision",
    metadata: { namespace, name },
    spec: { fleetRef: { name: "fleet" }, layers: [layer] },
  };
}

/** A rotation from beginning to end, with a controller that is killed once at most. */
async function runWith(crash?: CrashPoint): Promise<World> {
  const world = new World(crash);
  let controller = controllerOf(world);
  const reasons: (string | undefined)[] = [];
  for (let passes = 0; passes < 12; passes++) {
    try {
      await controller.reconcile(`${namespace}/crash`, signal());
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      world.writes.revive();
      controller = controllerOf(world);
    }
    reasons.push(world.rotation.status?.clusters?.[0]?.reason);
    if (world.rotation.status?.completedTime !== undefined) return world;
    // First CI is late, then the clusters are.
    if (passes === 1) world.pinned = fresh;
    if (passes === 3) world.running = fresh;
  }
  return assert.fail(JSON.stringify([reasons, world.rotation.status]));
}

test("S7 killed before and after every write: every workload restarts exactly once, and the rotation is complete", async (t) => {
  const undisturbed = await runWith();
  let plans = 0;
  for (let write = 1; write <= undisturbed.writes.count; write++)
    for (const when of ["before", "after"] as const) {
      const { told, rotation } = await runWith({ write, when });
      const times = [...told].map(([name, values]) => [name, values.length]);
      const once = ["opened/jobs", "opened/web", "synced/jobs", "synced/web"];
      assert.deepEqual(
        times.sort(),
        once.map((name) => [name, 1]),
        `${when} write ${write}`,
      );
      assert.equal(rotation.status?.summary, "2/2 run it, 4 workloads restarted");
      plans += 1;
    }
  t.diagnostic(`${plans} crashes`);
});

test("before Clusters are known none of them is gone, and nothing is complete", async () => {
  const world = new World();
  const { spec } = world.rotation;
  world.rotation = { ...world.rotation, spec: { ...spec, clusters: [...names] } };
  world.knowsClusters = false;
  const controller = controllerOf(world);
  await controller.reconcile(`${namespace}/crash`, signal());
  assert.equal(world.rotation.status?.completedTime, undefined);
  assert.deepEqual(world.rotation.status?.clusters, []);
  world.knowsClusters = true;
  world.pinned = world.running = fresh;
  await controller.reconcile(`${namespace}/crash`, signal());
  assert.equal(world.rotation.status?.summary, "2/2 run it, 4 workloads restarted");
});
