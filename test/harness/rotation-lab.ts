// A laboratory of its own for rotations that go wrong: clusters whose own Flux decrypts with real
// kustomize-controllers, a real Git repository, and somebody who watches that every cluster can open its files.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { clientOf, serverDir } from "../../hack/lab/apiserver.ts";
import { startController } from "../../hack/lab/controller.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import {
  FluxSource,
  fluxResources,
  fluxSync,
  startKustomizeController,
} from "../../hack/lab/kustomize.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { kill, relaunch, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import type { KeyRotation } from "../../pkg/api/index.ts";
import type { GitRepository } from "../../pkg/git/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import {
  generateIdentity,
  inspectFile,
  parseIdentities,
  type NewIdentity,
} from "../../pkg/sops/index.ts";
import { pushFiles } from "./artifacts.ts";
import { cliOf } from "./cli.ts";
import { GitLab, openGit } from "./git.ts";
import { applyFleet, fleetReady, namespace, newCluster, resources, until } from "./index.ts";
import { encrypted } from "./secrets.ts";

export type Status = NonNullable<KeyRotation["status"]>;
type Held = { readonly client: KubeClient; readonly flux: FluxSource };

const fleet = "keys";
const group = "keys";
export const repository = "fleet.git";
const waitMs = 150_000;
const planted = { namespace: "flux-system", name: "sops-age" };

/** The file of a cluster that its own Flux opens, and the Secret in it. */
export const fileOf = (cluster: string) => `clusters/${cluster}/opened.sops.yaml`;
export const canaryOf = (cluster: string) => `clusters/${cluster}/capitan-canary.sops.yaml`;
/** A Secret of that name with one word in it. */
export const manifestOf = (name: string, word: string) =>
  `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: default\nstringData:\n    word: ${word}\n`;

export class RotationLab {
  readonly lab: LabFile;
  readonly hub: KubeClient;
  readonly git: GitLab;
  readonly manager: NewIdentity;
  readonly clusters = new Map<string, Held>();
  readonly #server: GitServer;
  readonly #reader: GitRepository;
  readonly #dir: string;

  private constructor(
    parts: Pick<RotationLab, "lab" | "hub" | "git"> & {
      readonly server: GitServer;
      readonly dir: string;
    },
  ) {
    this.lab = parts.lab;
    this.hub = parts.hub;
    this.git = parts.git;
    this.#server = parts.server;
    this.#dir = parts.dir;
    this.manager = generateIdentity(randomBytes);
    this.#reader = openGit(this.url, parts.dir, { insecure: true });
  }

  /** A hub with a controller that may be killed and started again at once, and an empty repository. */
  static async start(): Promise<RotationLab> {
    const dir = await mkdtemp(join(tmpdir(), "capitan-keys-"));
    const lab = await startLab({ dir: join(dir, "lab"), progress: silent });
    const hub = await clientOf(lab.hubKubeconfig);
    const git = await GitLab.make();
    await git.init(repository);
    await git.git(repository, ["config", "http.receivepack", "true"]);
    await git.commitFiles(repository, { "README.md": "the fleet\n" });
    const server = await startGitHttp({ root: git.root });
    const made = new RotationLab({ lab, hub, git, server, dir });
    await startController(lab, { flags: ["--no-leader-election"] });
    await made.secret("manager-key", { "manager.agekey": made.manager.identity });
    await made.secret("git-write", { username: "robot", password: "pass-word" });
    await pushFiles(`oci://${lab.registry}/keys/flux:${fluxVersion}`, {
      "gotk-components.yaml": (await fluxManifests()).text,
    });
    return made;
  }

  async stop(): Promise<void> {
    for (const name of this.clusters.keys()) await this.#let(name);
    await this.#server.close();
    await this.git.remove();
    await this.hub.close();
    await stopLab(this.lab.dir);
    await rm(this.#dir, { recursive: true, force: true });
  }

  get url(): string {
    return `${this.#server.url}/${repository}`;
  }

  secret(name: string, stringData: Readonly<Record<string, string>>): Promise<unknown> {
    const metadata = { name, namespace };
    const object = { apiVersion: "v1", kind: "Secret", metadata, stringData };
    return this.hub.apply(resources.secret, object, { manager: "test" });
  }

  /** Clusters with a Fleet, an encrypted file each, and a Flux of their own that has opened it. */
  async addClusters(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const { client } = await newCluster(this.hub, name, { labels: { cluster: group } });
      this.clusters.set(name, { client, flux: await FluxSource.start(client, this.#reader) });
    }
    const sync = {
      git: { url: this.url, ref: { branch: "main" } },
      path: "./clusters/{{cluster.name}}",
      decryption: { provider: "sops" },
    };
    const flux = {
      version: fluxVersion,
      artifact: { url: `oci://${this.lab.registry}/keys/flux`, insecure: true },
      components: ["source-controller", "kustomize-controller"],
      sync,
    };
    const layers = [{ name: "flux", wait: false, flux }];
    await applyFleet(this.hub, fleet, group, layers, { interval: "2s" });
    await fleetReady(this.hub, fleet, waitMs);
    await this.#addFiles(names);
    for (const name of names) await this.startFlux(name);
    for (const name of names) await this.opens(name, `open-${name}`);
  }

  async #addFiles(names: readonly string[]): Promise<void> {
    const managers = this.manager.recipient;
    const rules: string[] = [];
    const files: Record<string, string> = {};
    for (const name of names) {
      const own = await this.recipient(name, 1);
      rules.push(`  - path_regex: ^clusters/${name}/\n    age: ${managers},${own}\n`);
      files[fileOf(name)] = await encrypted(manifestOf("opened", `open-${name}`), fileOf(name), [
        managers,
        own,
      ]);
    }
    await this.commit({ ".sops.yaml": `creation_rules:\n${rules.join("")}`, ...files });
  }

  /** Starts the kustomize-controller of a cluster. */
  async startFlux(name: string): Promise<void> {
    const kubeconfig = join(serverDir(this.lab.dir, name), "kubeconfig");
    const process = `kustomize-controller-${name}`;
    await startKustomizeController(this.lab.dir, kubeconfig, { progress: silent, name: process });
  }

  /** The Flux of a cluster, and our connection to it, go as the cluster goes. */
  async #let(name: string): Promise<void> {
    const held = this.clusters.get(name);
    this.clusters.delete(name);
    await stop(this.lab.dir, `kustomize-controller-${name}`);
    await held?.flux.close();
    await held?.client.close();
  }

  /** Ends what there is of a cluster besides its Cluster object. */
  forget(name: string): Promise<void> {
    return this.#let(name);
  }

  /** Makes a cluster of this name, with a Flux of its own, for files that are there. */
  async createAgain(name: string): Promise<void> {
    const { client } = await newCluster(this.hub, name, { labels: { cluster: group } });
    this.clusters.set(name, { client, flux: await FluxSource.start(client, this.#reader) });
    await until(() => client.get(fluxResources.kustomization, fluxSync), {
      deadlineMs: waitMs,
      what: `Flux on ${name}`,
    });
    await this.startFlux(name);
  }

  /** Waits until a cluster's own Flux has opened its file, with this word in it. */
  async opens(name: string, word: string): Promise<void> {
    const secret = { namespace: "default", name: "opened" };
    await until(
      async () => {
        const found = await this.clusters.get(name)?.client.get(resources.secret, secret);
        const value = asString(asMap(found?.["data"])["word"]) ?? "";
        const is = Buffer.from(value, "base64").toString("utf8");
        if (is !== word) throw new Error(`it is ${is || "not there"}`);
        return true;
      },
      { deadlineMs: waitMs, what: `${name} to open ${word}`, everyMs: 100 },
    );
  }

  async #identitySecret(cluster: string, generation: number) {
    const name = { namespace, name: `${cluster}-age-${generation}` };
    return this.hub.get(resources.secret, name);
  }

  async recipient(cluster: string, generation: number): Promise<string> {
    const found = await this.#identitySecret(cluster, generation);
    return found?.metadata.annotations?.["capitan.dev/recipient"] ?? "";
  }

  async identity(cluster: string, generation: number): Promise<string> {
    const found = await this.#identitySecret(cluster, generation);
    const text = asString(asMap(found?.["data"])["identity"]) ?? "";
    return Buffer.from(text, "base64").toString("utf8").trim();
  }

  /** The generation that a cluster has now. */
  async generation(cluster: string): Promise<number> {
    const client = this.clusters.get(cluster)?.client;
    const found = await client?.get(resources.secret, planted);
    const numbers = Object.keys(asMap(found?.["data"])).map((key) => Number.parseInt(key, 10));
    return Math.max(0, ...numbers);
  }

  /** The files at the tip, as text. */
  async files(): Promise<Readonly<Record<string, string>>> {
    const tip = await this.#reader.tip("main", AbortSignal.timeout(30_000));
    const texts = [...(tip?.files ?? [])].map(([path, bytes]) => [path, bytes.toString()] as const);
    return Object.fromEntries(texts);
  }

  /** Somebody commits on main. */
  async commit(files: Readonly<Record<string, string>>): Promise<string> {
    const parent = await this.git.git(repository, ["rev-parse", "main"]);
    return this.git.commitFiles(repository, { ...(await this.files()), ...files }, { parent });
  }

  readonly capitan = (args: readonly string[]) => cliOf(this.lab.hubKubeconfig)(args);

  /** Asks for a rotation and does not wait; gives its name. */
  async rotate(clusters: readonly string[], ...more: readonly string[]): Promise<string> {
    const chosen = clusters.flatMap((name) => ["--cluster", name]);
    const repo = more.includes("--repo") ? [] : ["--repo", this.url];
    const how = [...repo, "--wait=false", ...more];
    const { code, stdout, stderr } = await this.capitan(["rotate", "keys", ...chosen, ...how]);
    assert.equal(code, 0, stderr);
    return /KeyRotation fleet\/(\S+):/.exec(stdout)?.[1] ?? "";
  }

  async status(rotation: string): Promise<Status | undefined> {
    const found = await this.hub.get(resources.keyRotation, { namespace, name: rotation });
    return (found as KeyRotation | undefined)?.status;
  }

  /** Waits for a status; says where the rotation stands when it does not come. */
  becomes(rotation: string, what: string, is: (status: Status) => boolean): Promise<Status> {
    return until(
      async () => {
        const status = await this.status(rotation);
        if (status === undefined || !is(status))
          throw new Error(JSON.stringify([status?.clusters, status?.conditions]));
        return status;
      },
      { deadlineMs: waitMs, what: `rotation ${rotation} ${what}`, everyMs: 50 },
    );
  }

  readonly complete = (rotation: string) =>
    this.becomes(rotation, "to complete", ({ completedTime }) => completedTime !== undefined);

  /** Waits until a cluster waits for this. */
  readonly waits = (rotation: string, cluster: string, reason: string) =>
    this.becomes(
      rotation,
      `to say ${reason} of ${cluster}`,
      ({ clusters }) => clusters?.find(({ name }) => name === cluster)?.reason === reason,
    );

  /** Ends the controller as a crash would, and starts it again. */
  async killController(): Promise<void> {
    await kill(this.lab.dir, "controller");
    await relaunch(this.lab.dir, "controller");
  }

  /** What the real sops says to the files of a cluster at the tip with one identity: its exit statuses. */
  async sopsStatuses(cluster: string, key: string): Promise<Readonly<Record<string, number>>> {
    const sops = await ensureTool("sops", silent);
    const statuses: Record<string, number> = {};
    for (const [path, text] of Object.entries(await this.files())) {
      if (!path.startsWith(`clusters/${cluster}/`)) continue;
      const file = join(this.#dir, "tree", path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
      const env = { PATH: process.env["PATH"], HOME: this.#dir, SOPS_AGE_KEY: key };
      statuses[path] = await new Promise((resolve) => {
        execFile(sops, ["decrypt", file], { env }, (error) =>
          resolve(error === null ? 0 : Number(error.code)),
        );
      });
    }
    return statuses;
  }

  /** The old key opens nothing of a cluster any more, the new one everything. */
  async isRotated(cluster: string, generation: number): Promise<void> {
    const own = [fileOf(cluster), canaryOf(cluster)];
    const all = (status: number) => Object.fromEntries(own.map((path) => [path, status]));
    const present = Object.keys(await this.files()).filter((path) => own.includes(path));
    const only = (statuses: Readonly<Record<string, number>>) =>
      Object.fromEntries(present.map((path) => [path, statuses[path]]));
    const old = await this.identity(cluster, generation - 1);
    assert.deepEqual(await this.sopsStatuses(cluster, old), only(all(128)));
    const now = await this.identity(cluster, generation);
    assert.deepEqual(await this.sopsStatuses(cluster, now), only(all(0)));
    assert.equal(await this.generation(cluster), generation);
    assert.equal(await this.recipient(cluster, generation + 1), "");
  }

  /** Looks all along whether clusters can open what they run and are pinned to, with the keys that they have. */
  watch(): Watcher {
    return new Watcher(this.clusters, this.#reader);
  }
}

/** See `RotationLab.watch`. It knows nothing of rotations: Git, and what a cluster says of itself. */
export class Watcher {
  readonly #clusters: ReadonlyMap<string, Held>;
  readonly #git: GitRepository;
  readonly #ending = new AbortController();
  readonly #verdicts = new Map<string, readonly string[]>();
  readonly #seen = new Set<string>();
  readonly #work: Promise<void>;
  looks = 0;

  constructor(clusters: ReadonlyMap<string, Held>, git: GitRepository) {
    this.#clusters = clusters;
    this.#git = git;
    const all = [...clusters.keys()].map((name) => this.#run(name));
    this.#work = Promise.all(all).then(() => undefined);
  }

  /** What was wrong at any time until now. */
  get seen(): readonly string[] {
    return [...this.#seen];
  }

  /** Ends it; gives what was wrong at any time. */
  async end(): Promise<readonly string[]> {
    this.#ending.abort();
    await this.#work;
    return this.seen;
  }

  async #run(name: string): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const client = this.#clusters.get(name)?.client;
      const state = client === undefined ? undefined : await stateOf(client).catch(away);
      for (const wrong of state === undefined ? [] : await this.#wrong(name, state))
        this.#seen.add(wrong);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #wrong(name: string, { commits, keys, messages }: State): Promise<readonly string[]> {
    const unreadable = commits.map((commit) => this.#unreadable(name, commit, keys));
    const found = (await Promise.all(unreadable)).flat();
    this.looks += 1;
    return [...messages.map((message) => `${name}: ${message}`), ...found];
  }

  async #unreadable(
    name: string,
    commit: string,
    keys: readonly string[],
  ): Promise<readonly string[]> {
    const key = JSON.stringify([name, commit, keys]);
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const files = await this.#git.fetch({ commit, path: "./", ref: { branch: "main" } });
    const identities = (
      await Promise.all(keys.map((text) => parseIdentities(text, "planted")))
    ).flat();
    const wrong: string[] = [];
    for (const [path, { content }] of files) {
      if (!path.startsWith(`clusters/${name}/`)) continue;
      const options = { format: "yaml", identities, keysOnly: true } as const;
      const { opens } = await inspectFile(content, options);
      if (opens.length === 0) wrong.push(`${name} cannot open ${path} of ${commit}`);
    }
    this.#verdicts.set(key, wrong);
    return wrong;
  }
}

/** A cluster that does not answer tells nothing: whoever ends the watch looks at `looks`. */
const away = () => undefined;

/** What a cluster can open and has to, at one moment. */
type State = {
  readonly commits: readonly string[];
  readonly keys: readonly string[];
  readonly messages: readonly string[];
};

async function stateOf(client: KubeClient): Promise<State> {
  const before = await commitsOf(client);
  const keys = await keysOn(client);
  const { commits, messages } = await commitsOf(client);
  // Only what was pinned before and after the keys were read was pinned with them.
  return { commits: commits.filter((commit) => before.commits.includes(commit)), keys, messages };
}

/** What a cluster is told to pull and what it has applied, and what its Flux says of decryption. */
async function commitsOf(client: KubeClient) {
  const source = await client.get(fluxResources.gitRepository, fluxSync);
  const kustomization = await client.get(fluxResources.kustomization, fluxSync);
  const status = asMap(kustomization?.["status"]);
  const pinned = asString(asMap(asMap(source?.["spec"])["ref"])["commit"]);
  const applied = /sha1:([0-9a-f]{40})$/.exec(asString(status["lastAppliedRevision"]) ?? "")?.[1];
  const messages = asList(status["conditions"])
    .map((condition) => asString(asMap(condition)["message"]) ?? "")
    .filter((message) => /decrypt|data key/i.test(message));
  return { commits: [pinned, applied].filter((commit) => commit !== undefined), messages };
}

async function keysOn(client: KubeClient): Promise<readonly string[]> {
  const data = asMap((await client.get(resources.secret, planted))?.["data"]);
  return Object.values(data).map((value) =>
    Buffer.from(asString(value) ?? "", "base64").toString("utf8"),
  );
}
