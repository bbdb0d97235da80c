import { randomBytes } from "node:crypto";
import type { FleetMember, KeyRotation } from "../../pkg/api/index.ts";
import {
  Identities,
  managerKeys,
  RotationReconciler,
  type GitWriters,
  type ManagerKeys,
  type RotationOptions,
} from "../../pkg/controllers/index.ts";
import type { ClusterFacts } from "../../pkg/cluster/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { labels, type KubeObject } from "../../pkg/object/index.ts";
import {
  decryptFile,
  formatOf,
  generateIdentity,
  inspectFile,
  isEncrypted,
  parseIdentities,
  type Identity,
} from "../../pkg/sops/index.ts";
import {
  fleetNamed,
  managerSecret,
  memberOf,
  namespace,
  revisionOf,
  rotationOf,
} from "./rotation-objects.ts";
import type { WorldKeys } from "./rotation-tree.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const signal = () => AbortSignal.timeout(600_000);

/** Something that a rotation does outside of itself; all but reading the tip are writes. */
export type Deed = "tip" | "proposal" | "publish" | "identity" | "status";
/** Does a deed; whoever looks on counts, measures or dies there. */
export type Around = <T>(deed: Deed, work: () => T | Promise<T>) => Promise<T>;

export type WorldOptions = WorldKeys & {
  /** A real Git repository with the files, over HTTP. */
  readonly url: string;
  /** For the cache of packs. */
  readonly dir: string;
  readonly rollout: KeyRotation["spec"]["rollout"];
  /** Whether the manager's own key is rotated with those of the clusters. */
  readonly managerToo?: boolean;
  readonly around?: Around;
  readonly now?: () => Date;
  /** How many revisions from before are kept to go back to. */
  readonly kept?: number;
};

/**
 * What a rotation works on, and what outlives it: a real Git repository with real files, and in memory
 * the hub's Secrets, a Fleet that follows the branch, and clusters with a Flux that opens what it is
 * pinned to. Nothing happens there but by `pin`, `plant` and `apply`.
 */
export class RotationWorld {
  readonly names: readonly string[];
  readonly secrets = new Map<string, KubeObject>();
  /** By cluster: the age identities that it has, what its Flux has applied, the canary's word. */
  readonly planted = new Map<string, Readonly<Record<string, string>>>();
  readonly applied = new Map<string, string>();
  readonly #words = new Map<string, string>();
  /** By cluster: the commit that its Flux has opened, and with which identities. */
  readonly #opened = new Map<string, string>();
  /** Commits that members were pinned to, the newest last. */
  readonly #pins: string[] = [];
  readonly #options: WorldOptions;
  readonly #cache: PackCache;
  readonly #reader: GitRepository;
  rotation: KeyRotation;
  /** False: as after a start, before Clusters have been listed. */
  knowsClusters = true;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.names = [...options.first.keys()];
    this.#cache = new PackCache(options.dir, () => undefined);
    const access = { credentials: {}, insecure: true, namespace, secret: "" };
    this.#reader = new GitRepository(parseGitUrl(options.url, true), {
      ...access,
      cache: this.#cache,
    });
    for (const [name, { identity, recipient }] of options.first)
      this.#put(`${name}-age-1`, name, { identity: base64(identity) }, recipient);
    this.#putPlain(managerSecret, { "manager.agekey": base64(options.manager.identity) });
    this.#putPlain("git", { username: base64("u"), password: base64("p") });
    const { url, rollout, managerToo = false } = options;
    this.rotation = rotationOf({ url, rollout, names: this.names, managerToo });
  }

  get pinned(): string {
    return this.#pins.at(-1) ?? "";
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

  #putPlain(name: string, data: object): void {
    const metadata = { namespace, name };
    this.secrets.set(name, { apiVersion: "v1", kind: "Secret", metadata, data });
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }

  #around<T>(deed: Deed, work: () => T | Promise<T>): Promise<T> {
    const { around } = this.#options;
    return around === undefined ? Promise.resolve(work()) : around(deed, work);
  }

  /** The tip of the branch as a reader of its own sees it. */
  async tip(): Promise<{ readonly commit: string; readonly files: ReadonlyMap<string, Buffer> }> {
    const tip = await this.#reader.tip("main", signal());
    if (tip === undefined) throw new CapitanError("GitNotFound", "there is no main");
    return tip;
  }

  /** The Fleet sees the tip and pins its members to it, as soon as CI has published it. False when it was there. */
  async pin(): Promise<boolean> {
    const { commit } = await this.tip();
    if (commit === this.pinned) return false;
    this.#pins.push(commit);
    return true;
  }

  /** The controller plants on each cluster what it is to have. False when nothing changed. */
  async plant(): Promise<boolean> {
    let changed = false;
    for (const name of this.names) {
      const before = this.planted.get(name);
      const keys = await this.#identities((work) => Promise.resolve(work())).of(
        { namespace, name },
        { as: undefined, planted: before },
        signal(),
      );
      if (JSON.stringify(before) === JSON.stringify(keys.data)) continue;
      this.planted.set(name, keys.data);
      changed = true;
    }
    return changed;
  }

  /** Each cluster's Flux opens what it is pinned to. What cannot be opened throws. False when nothing changed. */
  async apply(): Promise<boolean> {
    const stateOf = (name: string) => `${this.pinned} ${JSON.stringify(this.planted.get(name))}`;
    const late = this.names.filter((name) => this.#opened.get(name) !== stateOf(name));
    if (late.length === 0) return false;
    const files = await this.#files(this.pinned);
    await this.#openShared(files);
    for (const name of late) {
      const held = await identitiesIn(Object.values(this.planted.get(name) ?? {}));
      const word = await wordIn(files, name, held);
      if (word !== undefined) this.#words.set(name, word);
      this.#opened.set(name, stateOf(name));
      this.applied.set(name, `main@sha1:${this.pinned}`);
    }
    return true;
  }

  /** As the hub does for the layers that it decrypts. What cannot be opened throws. */
  async #openShared(files: ReadonlyMap<string, Buffer>): Promise<void> {
    const usable = (await this.managers()).filter(({ state }) => state !== "retired");
    const identities = usable.map(({ identity }) => identity);
    for (const [path, bytes] of files)
      if (path.startsWith("shared/"))
        await decryptFile(bytes, { format: formatOf(path), identities });
  }

  /** The generations of the manager's key. */
  async managers(): Promise<ManagerKeys["generations"]> {
    const reader = { namespace, as: undefined };
    return (await managerKeys(this.#secrets, reader, managerSecret, signal())).generations;
  }

  async #files(commit: string): Promise<ReadonlyMap<string, Buffer>> {
    const files = await this.#reader.fetch({ commit, path: "./", ref: { branch: "main" } });
    return new Map(Array.from(files, ([path, { content }]) => [path, content]));
  }

  /** Which of a cluster's first two identities open its files, by trying. */
  async openers(
    name: string,
    files: ReadonlyMap<string, Buffer>,
  ): Promise<{
    /** The recipient of the second. */
    readonly now: string;
    readonly opens: ReadonlyMap<string, readonly string[]>;
  }> {
    const secrets = [1, 2].map((generation) => this.secrets.get(`${name}-age-${generation}`));
    const texts = secrets.map((secret) => asString(asMap(secret?.["data"])["identity"]) ?? "");
    const identities = await identitiesIn(texts);
    const opens = new Map<string, readonly string[]>();
    for (const [path, bytes] of files) {
      const format = formatOf(path);
      if (!path.startsWith(`clusters/${name}/`) || !isEncrypted(bytes, format)) continue;
      const found = await inspectFile(bytes, { format, identities, keysOnly: true });
      opens.set(path, found.opens);
    }
    return { now: identities[1]?.recipient ?? "", opens };
  }

  /** Which of the manager's identities open each file, by trying; canaries are for clusters alone. */
  async managerOpeners(
    files: ReadonlyMap<string, Buffer>,
  ): Promise<ReadonlyMap<string, readonly string[]>> {
    const identities = (await this.managers()).map(({ identity }) => identity);
    const opens = new Map<string, readonly string[]>();
    for (const [path, bytes] of files) {
      const format = formatOf(path);
      if (path.endsWith("capitan-canary.sops.yaml") || !isEncrypted(bytes, format)) continue;
      opens.set(path, (await inspectFile(bytes, { format, identities, keysOnly: true })).opens);
    }
    return opens;
  }

  /** A controller as it is wired, looking at this world. */
  controller(): RotationReconciler {
    const cache = this.#cache;
    const { random } = Math;
    const now = () => this.#now();
    const options: RotationOptions = {
      hub: {
        cluster: (name) => this.#cluster(name),
        fleet: fleetNamed,
        fleets: () => [fleetNamed()],
        membersOf: () => this.names.map((name) => this.#member(name)),
        membersOn: ({ name }) => [this.#member(name)],
        revision: (name) => Promise.resolve(revisionOf(this.#options.url, name.name)),
        revisionsOf: () => Promise.resolve(this.#kept()),
      },
      checkHub: () =>
        this.knowsClusters
          ? Promise.resolve()
          : Promise.reject(new CapitanError("CapiVersionUnsupported", "no Clusters yet")),
      rotations: {
        keyRotation: () => this.rotation,
        writeStatus: (_, status) =>
          this.#around("status", () => {
            this.rotation = { ...this.rotation, status };
            return true;
          }),
        emit: () => Promise.resolve(),
      },
      connections: { held: (key) => this.#workload(key.split("/")[1] ?? "") },
      secrets: this.#secrets,
      identities: this.#identities((work) => this.#around("identity", work)),
      gitWriters: this.#writers,
      gitRepositories: (location, access) => new GitRepository(location, { ...access, cache }),
      repositories: () => {
        throw new CapitanError("InternalError", "there is no registry here");
      },
      tenancy: { platformNamespaces: new Set([namespace]) },
      clock: { now, monotonicMs: () => now().getTime(), random },
      log: quiet,
    };
    return new RotationReconciler(options);
  }

  readonly #writers: GitWriters = (location, access) => {
    const repository = new GitRepository(location, { ...access, cache: this.#cache });
    return {
      tip: (branch, until, known) =>
        this.#around("tip", () => repository.tip(branch, until, known)),
      publish: (request, until) => {
        const propose = (tip: Parameters<typeof request.propose>[0]) =>
          this.#around("proposal", () => request.propose(tip));
        return this.#around("publish", () => repository.publish({ ...request, propose }, until));
      },
    };
  };

  #identities(write: <T>(work: () => T) => Promise<T>): Identities {
    const create = (secret: KubeObject) => {
      if (this.secrets.has(secret.metadata.name)) return false;
      const creationTimestamp = this.#now().toISOString();
      const metadata = { ...secret.metadata, creationTimestamp };
      this.secrets.set(secret.metadata.name, { ...secret, metadata });
      return true;
    };
    return new Identities(
      {
        identitySecrets: (as, holder, until) => this.#secrets.identitySecrets(as, holder, until),
        identitySecretsIn: () => Promise.resolve(this.#byCluster()),
        createSecret: (_, secret) => write(() => create(secret)),
      },
      () => Promise.resolve({ ...generateIdentity(randomBytes), created: this.#now() }),
    );
  }

  readonly #secrets: RotationOptions["secrets"] = {
    secretAs: (_, { name }) => Promise.resolve(this.secrets.get(name)),
    identitySecrets: (_, { name, isManager = false }) => {
      if (!isManager) return Promise.resolve(this.#byCluster().get(name) ?? []);
      const all = [...this.secrets.values()];
      const isOwn = ({ metadata }: KubeObject) => metadata.labels?.[labels.managerKey] === name;
      return Promise.resolve(all.filter(isOwn));
    },
  };

  #byCluster(): ReadonlyMap<string, readonly KubeObject[]> {
    const named = [...this.secrets.values()].filter(({ metadata }) => clusterOf(metadata) !== "");
    return Map.groupBy(named, ({ metadata }) => clusterOf(metadata));
  }

  #workload(cluster: string) {
    const word = this.#words.get(cluster);
    const canary = word === undefined ? undefined : { word: base64(word) };
    return {
      clusterId: cluster,
      as: () => ({
        secretData: ({ name }: { readonly name: string }) =>
          Promise.resolve(name === "sops-age" ? this.planted.get(cluster) : canary),
        appliedRevision: () => Promise.resolve(this.applied.get(cluster)),
      }),
    };
  }

  #cluster(name: { readonly namespace: string; readonly name: string }): ClusterFacts | undefined {
    if (!this.knowsClusters) return undefined;
    return {
      ...name,
      uid: name.name,
      labels: {},
      paused: false,
      deleting: false,
      controlPlaneInitialized: true,
      context: { namespace, name: name.name } as never,
    };
  }

  #member(name: string): FleetMember {
    return memberOf(name, this.pinned);
  }

  #kept(): readonly KubeObject[] {
    const { kept = 0 } = this.#options;
    const names = kept === 0 ? [] : this.#pins.slice(0, -1).slice(-kept);
    return names.map((name) => ({ apiVersion: "", kind: "", metadata: { namespace, name } }));
  }
}

/** Opens all files of a cluster; gives the canary's word, when one is there. What cannot be opened throws. */
async function wordIn(
  files: ReadonlyMap<string, Buffer>,
  cluster: string,
  identities: readonly Identity[],
): Promise<string | undefined> {
  let word: string | undefined;
  for (const [path, bytes] of files) {
    if (!path.startsWith(`clusters/${cluster}/`)) continue;
    const { plaintext } = await decryptFile(bytes, { format: formatOf(path), identities });
    if (path.endsWith("capitan-canary.sops.yaml"))
      word = /word: "?([^"\n]+)/.exec(plaintext.toString())?.[1];
  }
  return word;
}

const clusterOf = ({ labels }: KubeObject["metadata"]) =>
  labels?.["cluster.x-k8s.io/cluster-name"] ?? "";

async function identitiesIn(values: readonly string[]): Promise<readonly Identity[]> {
  const found = values.map((value) =>
    parseIdentities(Buffer.from(value, "base64").toString(), "planted"),
  );
  return (await Promise.all(found)).flat();
}
