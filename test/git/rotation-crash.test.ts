import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import type { Fleet, FleetMember, FleetRevision, KeyRotation } from "../../pkg/api/index.ts";
import {
  Identities,
  RotationReconciler,
  type GitWriters,
  type RotationOptions,
} from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import {
  decryptFile,
  formatOf,
  generateIdentity,
  inspectFile,
  isEncrypted,
  parseIdentities,
  type Identity,
} from "../../pkg/sops/index.ts";
import { GitLab, openGit } from "../harness/git.ts";
import { encrypted } from "../harness/secrets.ts";

/** Where the controller dies: at its n-th write, before or after it. */
type CrashPoint = { readonly write: number; readonly when: "before" | "after" };
class Crash extends Error {}

const namespace = "fleet";
const names = ["one", "two"] as const;
const manager = generateIdentity(randomBytes);
const first = new Map(names.map((name) => [name as string, generateIdentity(randomBytes)]));
const base64 = (text: string) => Buffer.from(text).toString("base64");
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const signal = () => AbortSignal.timeout(120_000);

let git: GitLab;
let server: GitServer;
let dir: string;

before(async () => {
  git = await GitLab.make();
  dir = await mkdtemp(join(tmpdir(), "capitan-crash-"));
  server = await startGitHttp({ root: git.root });
  await git.init("template.git");
  const files: Record<string, string> = {};
  const rules: string[] = [];
  for (const [name, { recipient }] of first) {
    rules.push(`  - path_regex: ^clusters/${name}/\n    age: ${manager.recipient},${recipient}\n`);
    for (const file of ["a.sops.yaml", "b.sops.yaml"]) {
      const path = `clusters/${name}/${file}`;
      const text = `apiVersion: v1\nkind: Secret\nmetadata: {name: ${file}}\nstringData: {word: w}\n`;
      files[path] = await encrypted(text, path, [manager.recipient, recipient]);
    }
  }
  files[".sops.yaml"] = `creation_rules:\n${rules.join("")}`;
  await git.commitFiles("template.git", files);
});
after(async () => {
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
});

/** What is left when a controller dies: a real Git repository, and in memory the hub's Secrets and two clusters. */
class World {
  readonly secrets = new Map<string, KubeObject>();
  /** By cluster: the age identities that it has, what its Flux has applied, the canary's word. */
  readonly planted = new Map<string, Readonly<Record<string, string>>>();
  readonly applied = new Map<string, string>();
  readonly words = new Map<string, string>();
  readonly repository: string;
  rotation: KeyRotation;
  pinned = "";
  writes = 0;
  #crash: CrashPoint | undefined;
  #isDead = false;

  constructor(repository: string, rollout: "Proven" | "Immediate", crash?: CrashPoint) {
    this.repository = repository;
    this.#crash = crash;
    for (const [name, { identity, recipient }] of first)
      this.#put(`${name}-age-1`, name, { identity: base64(identity) }, recipient);
    this.#put("manager", "", { "manager.agekey": base64(manager.identity) }, "");
    this.#put("git", "", { username: base64("u"), password: base64("p") }, "");
    this.rotation = rotationOf(`${server.url}/${repository}`, rollout);
  }

  #put(name: string, cluster: string, data: object, recipient: string): void {
    const labels = {
      "cluster.x-k8s.io/cluster-name": cluster,
      "capitan.dev/age-generation": "1",
    };
    const annotations = { "capitan.dev/recipient": recipient };
    const metadata = { namespace, name, labels, annotations };
    this.secrets.set(name, { apiVersion: "v1", kind: "Secret", metadata, data });
  }

  /** One write of the controller. After its death there are none. */
  async write<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#isDead) throw new Crash();
    this.writes += 1;
    const isHere = this.#crash?.write === this.writes;
    if (isHere && this.#crash?.when === "before") this.#die();
    const result = await work();
    if (isHere) this.#die();
    return result;
  }

  #die(): never {
    this.#isDead = true;
    throw new Crash();
  }

  revive(): void {
    this.#isDead = false;
    this.#crash = undefined;
  }

  identities(isController: boolean): Identities {
    const create = (secret: KubeObject) => {
      if (this.secrets.has(secret.metadata.name)) return false;
      this.secrets.set(secret.metadata.name, secret);
      return true;
    };
    return new Identities(
      {
        identitySecrets: (_, { name }) =>
          Promise.resolve(
            [...this.secrets.values()].filter(
              ({ metadata }) => metadata.labels?.["cluster.x-k8s.io/cluster-name"] === name,
            ),
          ),
        createSecret: (_, secret) =>
          isController ? this.write(() => create(secret)) : Promise.resolve(create(secret)),
      },
      () => generateIdentity(randomBytes),
    );
  }
}

function rotationOf(url: string, rollout: "Proven" | "Immediate"): KeyRotation {
  const spec = {
    clusters: names.map((name) => ({ name, ends: 1 })),
    repository: { url, branch: "main", secretRef: { name: "git" }, delivery: "Push" },
    decryption: { secretRef: { name: "manager" } },
    rollout,
    reason: "Scheduled",
    dryRun: false,
  } as const;
  const metadata = { namespace, name: "crash", generation: 1 };
  return { apiVersion: "capitan.dev/v1alpha1", kind: "KeyRotation", metadata, spec };
}

/** A controller as it is wired, whose writes can be the last ones. */
function controllerOf(world: World): RotationReconciler {
  const cache = new PackCache(dir, () => undefined);
  const open: GitWriters = (location, access) => {
    const repository = new GitRepository(location, { ...access, cache });
    return {
      tip: (branch, until) => repository.tip(branch, until),
      publish: (request, until) => {
        const propose = async (tip: Parameters<typeof request.propose>[0]) => {
          const proposal = await request.propose(tip);
          // Made, but not sent.
          return world.write(() => proposal);
        };
        return world.write(() => repository.publish({ ...request, propose }, until));
      },
    };
  };
  const options: RotationOptions = {
    hub: {
      cluster: (name) => ({
        ...name,
        uid: name.name,
        labels: {},
        paused: false,
        deleting: false,
        controlPlaneInitialized: true,
        context: { namespace, name: name.name } as never,
      }),
      fleet,
      membersOn: ({ name }) => [memberOf(name, world)],
      revision: (_, __) => Promise.resolve(revisionOf(world)),
      revisionsOf: () => Promise.resolve([]),
    },
    rotations: {
      keyRotation: () => world.rotation,
      clustersWithIdentities: () => Promise.resolve([...names]),
      writeStatus: (_, status) =>
        world.write(() => {
          world.rotation = { ...world.rotation, status };
          return true;
        }),
      emit: () => Promise.resolve(),
    },
    connections: {
      held: (key) => {
        const name = key.split("/")[1] ?? "";
        return {
          clusterId: name,
          as: () => ({
            secretData: ({ name: secret }) => Promise.resolve(secretOn(world, name, secret)),
            appliedRevision: () => Promise.resolve(world.applied.get(name)),
          }),
        };
      },
    },
    secrets: { secretAs: (_, { name }) => Promise.resolve(world.secrets.get(name)) },
    identities: world.identities(true),
    gitWriters: open,
    gitRepositories: (location, access) => new GitRepository(location, { ...access, cache }),
    repositories: () => assert.fail("no registry here"),
    tenancy: { platformNamespaces: new Set([namespace]) },
    clock: { now: () => new Date(), monotonicMs: () => performance.now(), random: Math.random },
    log: quiet,
  };
  return new RotationReconciler(options);
}

function secretOn(world: World, cluster: string, secret: string) {
  if (secret === "sops-age") return world.planted.get(cluster);
  const word = world.words.get(cluster);
  return word === undefined ? undefined : { word: base64(word) };
}

const fleet = (name: { readonly namespace: string; readonly name: string }): Fleet => ({
  apiVersion: "",
  kind: "Fleet",
  metadata: name,
  spec: { layers: [] } as never,
});

const memberOf = (name: string, { pinned }: World): FleetMember => ({
  apiVersion: "",
  kind: "FleetMember",
  metadata: { namespace, name },
  spec: {
    fleetRef: { namespace, name: "fleet" },
    clusterRef: { name },
    revision: pinned,
    state: "Present",
  },
});

/** Pinned to the tip, as a Fleet does. */
const revisionOf = (world: World): FleetRevision => ({
  apiVersion: "",
  kind: "FleetRevision",
  metadata: { namespace, name: world.pinned },
  spec: {
    fleetRef: { name: "fleet" },
    layers: [
      {
        name: "flux",
        wait: false,
        timeout: "1m",
        deletionPolicy: "Orphan",
        dependsOn: [],
        flux: {
          url: "oci://none/none",
          digest: "",
          revision: "",
          version: "",
          sync: {
            path: "./clusters/{{cluster.name}}",
            interval: "1m",
            decryption: { provider: "sops" },
            git: { url: `${server.url}/${world.repository}`, ref: { commit: world.pinned } },
          },
        },
      },
    ],
  },
});

/** What Fleets, clusters and their Flux do meanwhile. Fails when a cluster cannot read what it is to run. */
async function live(world: World): Promise<void> {
  const repository = repositoryOf(world);
  const tip = await repository.tip("main", signal());
  assert.ok(tip);
  world.pinned = tip.commit;
  for (const name of names) {
    const before = world.planted.get(name);
    const keys = await world
      .identities(false)
      .of({ namespace, name }, { as: undefined, planted: before }, signal());
    world.planted.set(name, keys.data);
    const held = await identitiesIn(Object.values(keys.data));
    for (const [path, bytes] of tip.files) {
      if (!path.startsWith(`clusters/${name}/`)) continue;
      // What cannot be opened fails the whole test.
      const { plaintext } = await decryptFile(bytes, { format: "yaml", identities: held });
      const word = /word: "?([^"\n]+)/.exec(plaintext.toString())?.[1] ?? "";
      if (path.endsWith("capitan-canary.sops.yaml")) world.words.set(name, word);
    }
    world.applied.set(name, `main@sha1:${tip.commit}`);
  }
}

const repositoryOf = ({ repository }: World) =>
  openGit(`${server.url}/${repository}`, dir, { insecure: true });

async function identitiesIn(values: readonly string[]): Promise<readonly Identity[]> {
  const found = values.map((value) =>
    parseIdentities(Buffer.from(value, "base64").toString(), "planted"),
  );
  return (await Promise.all(found)).flat();
}

let worlds = 0;

/** A rotation from beginning to end, with a controller that is killed once at most. */
async function run(rollout: "Proven" | "Immediate", crash?: CrashPoint): Promise<World> {
  const repository = `run-${worlds++}.git`;
  await git.git(".", ["clone", "-q", "--bare", "template.git", repository]);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  const world = new World(repository, rollout, crash);
  await live(world);
  let controller = controllerOf(world);
  for (let passes = 0; passes < 60; passes++) {
    try {
      await controller.reconcile(`${namespace}/crash`, signal());
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      world.revive();
      controller = controllerOf(world);
    }
    if (world.rotation.status?.completedTime !== undefined) return world;
    await live(world);
  }
  throw new CapitanError("InternalError", JSON.stringify(world.rotation.status));
}

/** With real cryptography: the old key opens nothing at the tip, the new one opens all. */
async function assertRotated(world: World): Promise<void> {
  const tip = await repositoryOf(world).tip("main", signal());
  for (const name of names) {
    const [old] = await identitiesIn([base64(first.get(name)?.identity ?? "")]);
    const secret = world.secrets.get(`${name}-age-2`);
    const [now] = await identitiesIn([asString(asMap(secret?.["data"])["identity"]) ?? ""]);
    assert.ok(old !== undefined && now !== undefined);
    const identities = [old, now];
    for (const [path, bytes] of tip?.files ?? []) {
      if (!path.startsWith(`clusters/${name}/`) || !isEncrypted(bytes, formatOf(path))) continue;
      const { opens } = await inspectFile(bytes, { format: "yaml", identities, keysOnly: true });
      assert.deepEqual(opens, [now.recipient], path);
    }
    assert.deepEqual(Object.keys(world.planted.get(name) ?? {}), ["2.agekey"]);
    assert.ok(!world.secrets.has(`${name}-age-3`));
  }
}

const commitsIn = ({ repository }: World) => git.git(repository, ["rev-list", "--count", "main"]);

async function everyCrash(rollout: "Proven" | "Immediate", t: TestContext): Promise<void> {
  const undisturbed = await run(rollout);
  await assertRotated(undisturbed);
  const commits = await commitsIn(undisturbed);
  let plans = 0;
  for (let write = 1; write <= undisturbed.writes; write++)
    for (const when of ["before", "after"] as const) {
      const world = await run(rollout, { write, when });
      await assertRotated(world);
      assert.equal(await commitsIn(world), commits, `${when} write ${write}`);
      plans += 1;
    }
  t.diagnostic(`${plans} crashes`);
}

test("S7 killed before and after every write, commit and push, on real Git: a rotation ends right, with no commit too many", (t) =>
  everyCrash("Proven", t));

test("S7 the same for a rotation that waits for nothing", (t) => everyCrash("Immediate", t));
