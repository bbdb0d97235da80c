import { posix } from "node:path";
import type { Fleet, FleetMember, RevisionLayer } from "../api/index.ts";
import { clusterKey, momentOf, type ClusterFacts } from "../cluster/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { userOf, type Tenancy } from "../fleet/index.ts";
import { asMap, asString } from "../json/index.ts";
import { parseManifests } from "../object/index.ts";
import {
  canaryName,
  type Generation,
  type Proof,
  type Reader,
  type Revision,
} from "../rotation/index.ts";
import {
  decryptFile,
  parseIdentities,
  recipientsOf,
  SopsError,
  type Identity,
} from "../sops/index.ts";
import { pathFor } from "./content.ts";
import { plantedName, type AgeGeneration } from "./identities.ts";
import type {
  Actor,
  Clock,
  ClusterHub,
  FleetHub,
  GitRepositories,
  HandsPort,
  Named,
  Repositories,
  Secrets,
  WorkloadPort,
} from "./ports.ts";
import { Kept } from "./kept.ts";
import type { PulledFiles } from "./pulled.ts";
import type { Keyring, RotationFiles } from "./rotation-files.ts";

type Sync = NonNullable<NonNullable<RevisionLayer["flux"]>["sync"]>;
/** Where files are pulled from: what a layer and a cluster's own Flux have in common. */
export type Origin = Pick<Sync, "oci" | "git">;
type Files = ReadonlyMap<string, Buffer>;

/** A connected cluster, as far as a rotation looks at it. */
type HeldWorkload = Pick<WorkloadPort, "clusterId"> & {
  as(user: Actor): Pick<HandsPort, "secretData" | "appliedRevision">;
};

export type ReadersOptions = {
  readonly hub: Pick<ClusterHub, "cluster" | "fleet" | "membersOn" | "revision"> &
    Pick<FleetHub, "revisionsOf" | "membersOf"> & { fleets(): readonly Fleet[] };
  readonly tenancy: Tenancy;
  readonly secrets: Secrets;
  readonly connections: {
    held(key: string): HeldWorkload | undefined;
  };
  readonly repositories: Repositories;
  readonly gitRepositories: GitRepositories;
  readonly clock: Clock;
};

/** What is known before a cluster is looked at. */
export type Asked = {
  readonly cluster: Named;
  readonly generations: readonly AgeGeneration[];
  /** Proofs that the status holds. */
  readonly proofs: readonly Proof[];
  /** The tip of the repository, and its directory that becomes an artifact. */
  readonly tip: Files;
  readonly artifactPath: string;
  readonly keyring: Keyring;
  readonly shared: Shared;
};

const lookMs = 3_000;

/** What is the same for many clusters and asked once in a look. */
export type Shared = {
  /** Versions that a Fleet could go back to. */
  readonly kept: Kept<readonly string[]>;
  /** Versions that moving references lead to now. */
  readonly now: Kept<string>;
};

/** Nothing asked yet, for one look. */
export const newShared = (): Shared => ({ kept: new Kept(Infinity), now: new Kept(Infinity) });

/** What a member has its cluster's Flux pull. */
type Pulled = {
  readonly member: FleetMember;
  /** As whom its Fleet reads. */
  readonly as: Actor;
  readonly sync: Sync;
  readonly path: string;
};
/** What was seen on a cluster; undefined when it does not answer. */
type Seen =
  | {
      readonly planted: ReadonlySet<string>;
      readonly word: string | undefined;
      readonly applied: string | undefined;
    }
  | undefined;

/** Looks at clusters as readers of files: what they hold, what they run and may run, what they have shown. */
export class RotationReaders {
  readonly #options: ReadersOptions;
  readonly #files: RotationFiles;
  readonly #pulled: PulledFiles;

  constructor(options: ReadersOptions, files: RotationFiles, pulled: PulledFiles) {
    this.#options = options;
    this.#files = files;
    this.#pulled = pulled;
  }

  /** One cluster as it is now. Throws what its sources throw. */
  async reader(asked: Asked, signal: AbortSignal): Promise<Reader> {
    const { cluster: name, generations } = asked;
    const cluster = this.#options.hub.cluster(name);
    if (cluster === undefined || cluster.deleting) return goneReader(asked);
    const pulled = await this.#pulledBy(cluster, signal);
    const workload = this.#options.connections.held(clusterKey(name));
    const [first] = pulled;
    const seen = first === undefined ? undefined : await look(workload?.as(first.as), soon(signal));
    const revisions = await Promise.all(
      pulled.map((each) => this.#revisions(each, { asked, applied: seen?.applied }, signal)),
    );
    const canary = canaryPath(pulled, asked);
    const reader: Reader = {
      name: name.name,
      uid: workload?.clusterId ?? knownUid(first) ?? cluster.uid,
      presence: this.#presence(cluster, pulled, seen),
      generations: generations.map(generationOf),
      // A cluster without a Flux that decrypts opens nothing: the hub does, with all that it has.
      planted: first === undefined ? usable(generations) : seen?.planted,
      revisions: revisions.flat(),
      proofs: asked.proofs,
      canary,
    };
    return { ...reader, proofs: [...asked.proofs, ...(await this.#shown(reader, asked, seen))] };
  }

  #presence(
    { suspendedUntil }: ClusterFacts,
    pulled: readonly Pulled[],
    seen: Seen,
  ): Reader["presence"] {
    if (pulled.length > 0 && seen === undefined) return "away";
    const until = momentOf(suspendedUntil);
    return until > this.#options.clock.now().getTime() ? "suspended" : "reachable";
  }

  async #pulledBy(cluster: ClusterFacts, signal: AbortSignal): Promise<readonly Pulled[]> {
    const { namespace } = cluster;
    const { hub, tenancy } = this.#options;
    const pulled: Pulled[] = [];
    for (const member of hub.membersOn(cluster)) {
      const fleet = hub.fleet(member.spec.fleetRef);
      if (member.spec.state !== "Present" || fleet === undefined) continue;
      const as = userOf(fleet, tenancy);
      const revision = await hub.revision({ namespace, name: member.spec.revision }, signal);
      for (const { flux } of revision?.spec.layers ?? []) {
        const { sync } = flux ?? {};
        if (sync?.decryption === undefined) continue;
        const audience = {
          fleet: member.spec.fleetRef,
          cluster: { ...cluster.context, namespace },
          as,
        };
        pulled.push({ member, as, sync, path: pathFor(sync.path, "sync.path", audience) });
      }
    }
    return pulled;
  }

  async #revisions(
    { member, as, sync, path }: Pulled,
    { asked, applied }: { readonly asked: Asked; readonly applied: string | undefined },
    signal: AbortSignal,
  ): Promise<readonly Revision[]> {
    const { shared, keyring, generations } = asked;
    const { fleetRef } = member.spec;
    const of = { namespace: fleetRef.namespace, as };
    const fleet = `${fleetRef.namespace}/${fleetRef.name}`;
    const kept = await shared.kept.of(fleet, () => this.#keptVersions(fleetRef, signal));
    const uses = new Map<string, Revision["use"]>(kept.map((version) => [version, "kept"]));
    const running = versionIn(applied);
    if (running !== undefined) uses.set(running, "running");
    const source = JSON.stringify([of, sync]);
    uses.set(await shared.now.of(source, () => this.#pulled.versionOf(of, sync, signal)), "pinned");
    const audience = {
      own: generations.map(({ identity }) => identity.recipient),
      directories: [posix.join("/", path, "/").slice(1)],
    };
    const revisions = [...uses].map(async ([name, use]): Promise<readonly Revision[]> => {
      const files = await this.#pulled.files(of, sync, name, signal).catch((error: unknown) => {
        // What the source has no more, nobody goes back to.
        if (use === "kept" && isCapitanError(error)) return undefined;
        throw error;
      });
      if (files === undefined) return [];
      const copies = await this.#files.copies(files, audience, keyring);
      return [{ name, source: sourceName(sync), use, files: copies }];
    });
    return (await Promise.all(revisions)).flat();
  }

  /** What the Fleet could go back to. */
  async #keptVersions(fleet: Named, signal: AbortSignal): Promise<readonly string[]> {
    const { hub } = this.#options;
    const versions: string[] = [];
    for (const { metadata } of await hub.revisionsOf(fleet, signal)) {
      const found = await hub.revision({ ...fleet, name: metadata.name }, signal);
      for (const { flux } of found?.spec.layers ?? [])
        versions.push(...(flux?.sync === undefined ? [] : pinnedVersions(flux.sync)));
    }
    return versions;
  }

  /** What the cluster has shown that is not written down yet. */
  async #shown(reader: Reader, { generations, tip }: Asked, seen: Seen): Promise<readonly Proof[]> {
    const { uid, proofs, planted = new Set(), revisions, canary } = reader;
    // What runs and is pinned is called pinned.
    const [revision] = (["running", "pinned"] as const).flatMap((use) =>
      revisions.filter((each) => each.use === use),
    );
    const atMs = this.#options.clock.now().getTime();
    const held = generations.filter(
      ({ state, identity }) => state === "active" && planted.has(identity.recipient),
    );
    const unproven = held.filter(
      ({ generation }) => !proofs.some((p) => p.generation === generation && p.uid === uid),
    );
    const found = unproven.map(async ({ generation, identity }): Promise<readonly Proof[]> => {
      // Without a canary it is enough that the identity was read back.
      const hasShown = canary === undefined || (await tells(seen?.word, tip.get(canary), identity));
      return hasShown ? [{ generation, uid, revision: revision?.name ?? "", atMs }] : [];
    });
    return (await Promise.all(found)).flat();
  }
}

/** A cluster that is not there any more, or goes. */
function goneReader({ cluster, generations }: Asked): Reader {
  return {
    name: cluster.name,
    uid: "",
    presence: "gone",
    generations: generations.map(generationOf),
    planted: undefined,
    revisions: [],
    proofs: [],
    canary: undefined,
  };
}

export const generationOf = ({
  generation,
  identity,
  state,
  createdMs,
}: AgeGeneration): Generation => ({
  generation,
  recipient: identity.recipient,
  state,
  createdMs,
});

/** The recipients of all that are not retired. */
export const usable = (generations: readonly AgeGeneration[]): ReadonlySet<string> =>
  new Set(
    generations.flatMap(({ identity, state }) => (state === "retired" ? [] : [identity.recipient])),
  );

const knownUid = (pulled: Pulled | undefined): string | undefined =>
  pulled?.member.status?.clusterID;

/** A cluster that hangs is away; nobody else waits for it longer. */
const soon = (signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(lookMs)]);

async function look(
  workload: ReturnType<HeldWorkload["as"]> | undefined,
  signal: AbortSignal,
): Promise<Seen> {
  if (workload === undefined) return undefined;
  try {
    return await seenBy(workload, signal);
  } catch (error) {
    if (isCapitanError(error)) return undefined;
    throw error;
  }
}

async function seenBy(
  workload: ReturnType<HeldWorkload["as"]>,
  signal: AbortSignal,
): Promise<Seen> {
  const data = (await workload.secretData(plantedName, signal)) ?? {};
  const keys = Object.entries(data).filter(([key]) => key.endsWith(".agekey"));
  const planted = await Promise.all(keys.map(([key, value]) => recipientsIn(value, key)));
  const canary = await workload.secretData(canaryName, signal);
  const word = canary?.[canaryName.key];
  return {
    planted: new Set(planted.flat()),
    word: word === undefined ? undefined : Buffer.from(word, "base64").toString("utf8"),
    applied: await workload.appliedRevision(signal),
  };
}

/** What Flux cannot read is as good as nothing. */
async function recipientsIn(base64: string, key: string): Promise<readonly string[]> {
  try {
    const text = Buffer.from(base64, "base64").toString("utf8");
    return (await parseIdentities(text, key)).map(({ recipient }) => recipient);
  } catch (error) {
    if (isCapitanError(error)) return [];
    throw error;
  }
}

/** Whether a word is the one of the canary, which only this identity tells. */
async function tells(
  word: string | undefined,
  canary: Buffer | undefined,
  identity: Identity,
): Promise<boolean> {
  if (word === undefined || canary === undefined) return false;
  try {
    // Where somebody has added others, one of these may have opened it.
    if (recipientsOf(canary, "yaml").groups.flat().length !== 1) return false;
    const { plaintext } = await decryptFile(canary, { format: "yaml", identities: [identity] });
    const [object] = parseManifests(plaintext.toString("utf8"), "the canary");
    plaintext.fill(0);
    return asString(asMap(object?.["stringData"])[canaryName.key]) === word;
  } catch (error) {
    // It is for another one.
    if (error instanceof SopsError) return false;
    throw error;
  }
}

const canaryFile = "capitan-canary.sops.yaml";

/**
 * Where a canary is delivered by the cluster's own Flux: in the directory that it applies, when that is
 * in this repository. A kustomization.yaml there would leave it out.
 */
function canaryPath(pulled: readonly Pulled[], { tip, artifactPath }: Asked): string | undefined {
  const [first] = pulled;
  if (first === undefined) return undefined;
  const root = first.sync.git === undefined ? artifactPath : "./";
  const directory = posix.join(root, first.path).replace(/\/$/, "");
  const isOwn = ["kustomization.yaml", "kustomization.yml", "Kustomization"].some((name) =>
    tip.has(`${directory}/${name}`),
  );
  const isThere = tip.keys().some((path) => path.startsWith(`${directory}/`));
  return isOwn || !isThere ? undefined : `${directory}/${canaryFile}`;
}

/** The digest or commit that a source names. */
export const pinnedVersions = ({ oci, git }: Origin): readonly string[] =>
  [oci?.ref?.digest, git?.ref?.commit].filter((version) => version !== undefined);

/** The digest or commit in what Flux calls a revision: `stable@sha256:…`, `main@sha1:…`. */
export function versionIn(applied: string | undefined): string | undefined {
  const digest = /(sha256:[a-f0-9]{64})$/.exec(applied ?? "")?.[1];
  return digest ?? /sha1:([a-f0-9]{40})$/.exec(applied ?? "")?.[1];
}

/** What people move so that clusters get another revision. */
export function sourceName({ oci, git }: Origin): string {
  if (git !== undefined) return [git.url, git.ref?.branch ?? []].flat().join(" ");
  if (oci === undefined) return "";
  const { url, ref, revision } = oci;
  // Pinned, it says what the digest was resolved from: stable@sha256:….
  return `${url}:${ref?.tag ?? revision?.split("@")[0] ?? "latest"}`;
}
