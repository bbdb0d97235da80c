import { posix } from "node:path";
import type {
  FleetMember,
  FleetRevision,
  RevisionLayer,
  SecretRotationSpec,
} from "../api/index.ts";
import { clusterKey, isManagement, momentOf, type ClusterFacts } from "../cluster/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { userOf, type Tenancy } from "../fleet/index.ts";
import { isSameRepository, parseGitUrl, type GitLocation } from "../gitdata/index.ts";
import {
  heldIn,
  parseValuePath,
  type Delivered,
  type HeldFile,
  type SeenCluster,
  type WantedValue,
} from "../secretrotation/index.ts";
import { pathFor, type Audience } from "./content.ts";
import type {
  Actor,
  Clock,
  ClusterHub,
  GitRepositories,
  HandsPort,
  Named,
  Reader,
  Repositories,
  Secrets,
} from "./ports.ts";
import { PulledFiles } from "./pulled.ts";
import { pinnedVersions, sourceName, versionIn, type Origin } from "./rotation-readers.ts";

/** What is done on a connected cluster for the rotation of values. */
export type ValueHands = Pick<HandsPort, "appliedRevision" | "workloadsIn" | "restart">;

export type SecretReadersOptions = {
  readonly hub: Pick<ClusterHub, "cluster" | "fleet" | "membersOn" | "revision">;
  readonly tenancy: Tenancy;
  readonly secrets: Secrets;
  readonly connections: { held(key: string): { as(user: Actor): ValueHands } | undefined };
  readonly repositories: Repositories;
  readonly gitRepositories: GitRepositories;
  readonly clock: Clock;
};

/** The values that are looked for, and where their files come from. */
export type Wanted = {
  readonly namespace: string;
  readonly values: readonly WantedValue[];
  readonly repository: GitLocation;
  /** The directory of the repository that becomes an artifact. */
  readonly artifactPath: string;
};

/** A member on the cluster, and the user that its Fleet has. */
type On = {
  readonly cluster: ClusterFacts;
  readonly member: FleetMember;
  readonly as: Actor;
};

/** A source of a layer whose encrypted files are opened for the cluster: by itself, or by the hub. */
type Opened = On & {
  readonly origin: Origin;
  /** The revision that the cluster runs of it; undefined when that is not known. */
  readonly running: string | undefined;
  /** Whether a file of the source is the cluster's business. */
  readonly isApplied: (path: string) => boolean;
};

/** In place of a revision, for a cluster that does not answer. */
const away = "away";

/** One cluster, and which files it gets through the Fleets of each user. */
export type Look = SeenCluster & {
  readonly byUser: ReadonlyMap<Actor, readonly Delivered[]>;
};

/** Looks at clusters as runners of values: what is in the revisions that they are pinned to and run. */
export class SecretRotationReaders {
  readonly #options: SecretReadersOptions;
  readonly #files: PulledFiles;

  constructor(options: SecretReadersOptions) {
    this.#options = options;
    this.#files = new PulledFiles(options);
  }

  /** One cluster as it is now. Throws what its sources throw. */
  async look(name: Named, wanted: Wanted, signal: AbortSignal): Promise<Look> {
    const cluster = this.#options.hub.cluster(name);
    if (cluster === undefined || cluster.deleting)
      return { name: name.name, presence: "gone", delivered: [], byUser: new Map() };
    const looks = this.#membersOn(cluster, wanted).map((on) => this.#lookAt(on, wanted, signal));
    const members = await Promise.all(looks);
    const isAway = members.some((member) => member.isAway) || !this.#isHeld(cluster);
    const delivered = members.flatMap((member) => member.delivered);
    const byUser = Map.groupBy(delivered, ({ as }) => as);
    return { name: name.name, presence: this.#presence(cluster, isAway), delivered, byUser };
  }

  #presence({ suspendedUntil }: ClusterFacts, isAway: boolean): SeenCluster["presence"] {
    const isSuspended = momentOf(suspendedUntil) > this.#options.clock.now().getTime();
    if (isSuspended) return "suspended";
    return isAway ? "away" : "reachable";
  }

  /** One member: the files that it brings, and whether its cluster did not answer. */
  async #lookAt(on: On, wanted: Wanted, signal: AbortSignal) {
    const pinned = await this.#revision(on, on.member.spec.revision, signal);
    const applied = isSynced(pinned) ? await this.#applied(on, signal) : undefined;
    const opened = await this.#openedFor(on, { pinned, applied }, signal);
    const found = opened.map((each) => this.#delivered(each, wanted, signal));
    const delivered = (await Promise.all(found)).flat();
    return {
      delivered: delivered.map((file) => ({ ...file, as: on.as })),
      isAway: applied === away,
    };
  }

  /** The hub itself is always there. */
  #isHeld(cluster: ClusterFacts): boolean {
    return isManagement(cluster) || this.#held(cluster) !== undefined;
  }

  #held(cluster: ClusterFacts) {
    return this.#options.connections.held(clusterKey(cluster));
  }

  #membersOn(cluster: ClusterFacts, { namespace }: Wanted): readonly On[] {
    const { hub, tenancy } = this.#options;
    return hub.membersOn(cluster).flatMap((member) => {
      const { fleetRef, state } = member.spec;
      const fleet = hub.fleet(fleetRef);
      const isOurs = fleetRef.namespace === namespace && state === "Present";
      return fleet === undefined || !isOurs
        ? []
        : [{ cluster, member, as: userOf(fleet, tenancy) }];
    });
  }

  /** What the cluster's own Flux has applied last; `away` when it does not answer. */
  async #applied({ cluster, as }: On, signal: AbortSignal): Promise<string | undefined> {
    try {
      return await this.#held(cluster)?.as(as).appliedRevision(signal);
    } catch (error) {
      if (isCapitanError(error) && error.code === "Unreachable") return away;
      throw error;
    }
  }

  async #openedFor(
    on: On,
    {
      pinned,
      applied,
    }: { readonly pinned: FleetRevision | undefined; readonly applied: string | undefined },
    signal: AbortSignal,
  ): Promise<readonly Opened[]> {
    const running = await this.#revision(on, on.member.status?.currentRevision, signal);
    const runningLayers = new Map(running?.spec.layers.map((layer) => [layer.name, layer]));
    return (pinned?.spec.layers ?? []).flatMap((layer): readonly Opened[] => {
      const sync = layer.flux?.sync;
      if (sync?.decryption !== undefined) return [syncedBy(on, sync, applied)];
      if (layer.decryption === undefined) return [];
      return openedByHub(on, layer, runningLayers.get(layer.name));
    });
  }

  async #revision(
    { member }: On,
    name: string | undefined,
    signal: AbortSignal,
  ): Promise<FleetRevision | undefined> {
    const { namespace } = member.spec.fleetRef;
    return name === undefined ? undefined : this.#options.hub.revision({ namespace, name }, signal);
  }

  /** What the source has no more, or had elsewhere, is not what is pinned now. */
  async #filesOf(
    of: Reader,
    origin: Origin,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Buffer> | undefined> {
    if (version === undefined) return undefined;
    try {
      return await this.#files.files(of, origin, version, signal);
    } catch (error) {
      if (isCapitanError(error)) return undefined;
      throw error;
    }
  }

  async #delivered(
    { member, as, origin, running, isApplied }: Opened,
    wanted: Wanted,
    signal: AbortSignal,
  ): Promise<readonly Delivered[]> {
    const places = wanted.values.flatMap((value) => {
      const path = pathIn(origin, value.path, wanted);
      return path === undefined || !isApplied(path) ? [] : [{ value, path }];
    });
    if (places.length === 0) return [];
    const of = { namespace: member.spec.fleetRef.namespace, as };
    const pinned = await this.#files.versionOf(of, origin, signal);
    const files = await this.#files.files(of, origin, pinned, signal);
    const own = running === pinned ? files : await this.#filesOf(of, origin, running, signal);
    const source = sourceName(origin);
    return places.flatMap(({ value, path }): readonly Delivered[] => {
      const held = heldAt(files, path, value);
      const now = own === undefined ? undefined : heldAt(own, path, value);
      if (held === undefined && now === undefined) return [];
      const run = running === undefined ? undefined : { revision: running, held: now };
      return [{ path: value.path, source, pinned: { revision: pinned, held }, running: run }];
    });
  }
}

const heldAt = (
  files: ReadonlyMap<string, Buffer>,
  path: string,
  value: WantedValue,
): HeldFile | undefined => {
  const bytes = files.get(path);
  return bytes === undefined ? undefined : heldIn(bytes, value);
};

const isSynced = (revision: FleetRevision | undefined): boolean =>
  revision?.spec.layers.some(({ flux }) => flux?.sync?.decryption !== undefined) === true;

type Sync = NonNullable<NonNullable<RevisionLayer["flux"]>["sync"]>;

function syncedBy(on: On, sync: Sync, applied: string | undefined): Opened {
  const directory = pathFor(sync.path, "sync.path", audienceOf(on));
  return { ...on, origin: sync, running: versionIn(applied), isApplied: isBelow([directory]) };
}

/** What the hub opens of a layer: its manifests, and its values. */
function openedByHub(
  on: On,
  layer: RevisionLayer,
  running: RevisionLayer | undefined,
): readonly Opened[] {
  const origin = originOf(layer);
  if (origin === undefined) return [];
  const audience = audienceOf(on);
  const { path = "./", valuesFiles = [] } = layer;
  const values = valuesFiles.map((line) => pathFor(line, "valuesFiles", audience));
  const isApplied = isBelow([pathFor(path, "path", audience), ...values]);
  const now = running === undefined ? undefined : originOf(running);
  const [version] = now === undefined ? [] : pinnedVersions(now);
  return [{ ...on, origin, running: version, isApplied }];
}

function originOf({ oci, git }: RevisionLayer): Origin | undefined {
  if (oci !== undefined) {
    const { digest, ...rest } = oci;
    return { oci: { ...rest, ref: { digest } } };
  }
  if (git === undefined) return undefined;
  const { commit, ref: { branch } = {}, ...rest } = git;
  return { git: { ...rest, ref: { commit, ...(branch === undefined ? {} : { branch }) } } };
}

function audienceOf({ cluster, member, as }: On): Audience {
  return { fleet: member.spec.fleetRef, cluster: cluster.context, as };
}

/** Whether a path is one of these files, or is below one of these directories. */
function isBelow(paths: readonly string[]): (path: string) => boolean {
  const roots = paths.map((path) => posix.normalize(path).replace(/^\.?\/|\/$/g, ""));
  return (path) =>
    roots.some(
      (root) => root === "" || root === "." || path === root || path.startsWith(`${root}/`),
    );
}

/** Where a file of the repository is in a source; undefined when it is not in it. */
function pathIn(
  { git }: Origin,
  path: string,
  { repository, artifactPath }: Wanted,
): string | undefined {
  if (git !== undefined) return isOf(git.url, repository) ? path : undefined;
  const root = posix.normalize(artifactPath).replace(/^\.?\/|\/$/g, "");
  if (root === "" || root === ".") return path;
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined;
}

function isOf(url: string, repository: GitLocation): boolean {
  try {
    return isSameRepository(parseGitUrl(url, true), repository);
  } catch (error) {
    if (isCapitanError(error)) return false;
    throw error;
  }
}

/** What a SecretRotation says, read. Throws RefInvalid, SopsFileInvalid. */
export function wantedOf(namespace: string, spec: SecretRotationSpec): Wanted {
  const { url, path: artifactPath = "./" } = spec.repository;
  const values = spec.files.map(({ key, ...rest }) => ({ ...rest, where: parseValuePath(key) }));
  return { namespace, values, repository: parseGitUrl(url, true), artifactPath };
}
