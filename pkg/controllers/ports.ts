import type {
  Fleet,
  FleetMember,
  FleetMemberSpec,
  FleetMemberStatus,
  FleetRevision,
  FleetRevisionSpec,
  FleetStatus,
  Reporting,
} from "../api/index.ts";
import type { Live } from "../drift/index.ts";
import type {
  ApplyReply,
  DesiredObject,
  Inspection,
  Problem,
  RemovalReply,
} from "../engine/index.ts";
import type { CapitanError } from "../errors/index.ts";
import type { ClusterFacts } from "../cluster/index.ts";
import type { GitCredentials, GitLocation, GitRef, Resolved } from "../gitdata/index.ts";
import type { Entry, Header, Inventory, Ledger } from "../inventory/index.ts";
import type { Health, KubeObject } from "../object/index.ts";
import type { ArtifactFiles, Reference } from "../oci/index.ts";
import type { LayerContext } from "../template/index.ts";

export type Named = { readonly namespace: string; readonly name: string };

/** Whose age identities: a cluster's, or the manager's by the name of the Secret that holds the first one. */
export type Holder = Named & { readonly isManager?: boolean };

/** The user that is impersonated for a Fleet; undefined when the controller acts with its own rights. */
export type Actor = string | undefined;

/** Whose inputs are read: those of a namespace, as somebody. Nothing that was read for one is given to another. */
export type Reader = { readonly namespace: string; readonly as: Actor };

/** Wall time for what people read, monotonic milliseconds for what is compared, and chance. */
export type Clock = {
  readonly now: () => Date;
  readonly monotonicMs: () => number;
  readonly random: () => number;
};

export type Log = {
  readonly info: (facts: object, message: string) => void;
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};

export type Metrics = {
  readonly applied: (objects: number) => void;
  /** Objects of this cluster (`namespace/name`) that were put back. */
  readonly repaired: (objects: number, cluster: string) => void;
};

export type EventNote = {
  readonly regarding: Reporting;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
};

/** What the Fleet reconciler needs of the hub. */
export type FleetHub = {
  fleet(name: Named): Fleet | undefined;
  clusters(): readonly ClusterFacts[];
  membersOf(fleet: Named): readonly FleetMember[];
  hasMembers(fleet: Named, signal: AbortSignal): Promise<boolean>;
  clusterIsGone(cluster: Named, signal: AbortSignal): Promise<boolean>;
  revision(name: Named, signal: AbortSignal): Promise<FleetRevision | undefined>;
  /** Which state of a ConfigMap was last seen; empty for none. */
  configMapVersion(name: Named): string;
  revisionsOf(fleet: Named, signal: AbortSignal): Promise<readonly KubeObject[]>;
  writeRevision(
    fleet: Fleet,
    name: string,
    spec: FleetRevisionSpec,
    signal: AbortSignal,
  ): Promise<void>;
  deleteRevision(revision: KubeObject, signal: AbortSignal): Promise<void>;
  writeMember(
    name: string,
    cluster: ClusterFacts,
    spec: FleetMemberSpec,
    signal: AbortSignal,
  ): Promise<void>;
  deleteMember(name: Named, signal: AbortSignal): Promise<void>;
  writeStatus(object: Fleet, status: FleetStatus, signal: AbortSignal): Promise<boolean>;
  setFinalizer(fleet: Fleet, wanted: boolean, signal: AbortSignal): Promise<void>;
  emit(event: EventNote, id: { id: string; time: string }, signal: AbortSignal): Promise<void>;
};

/** What the cluster reconciler needs of the hub. */
export type ClusterHub = {
  fleet(name: Named): Fleet | undefined;
  /** The Fleets that may have something to say about this cluster. */
  fleetsBeside(cluster: Named): readonly Fleet[];
  cluster(name: Named): ClusterFacts | undefined;
  membersOn(cluster: Named): readonly FleetMember[];
  /** All members on clusters with this uid of kube-system. */
  membersAt(clusterId: string): readonly FleetMember[];
  /** As the API server has it now. */
  freshMember(name: Named, signal: AbortSignal): Promise<FleetMember | undefined>;
  /** Sets or removes annotations of a member. */
  annotateMember(
    name: Named,
    values: Readonly<Record<string, string | null>>,
    signal: AbortSignal,
  ): Promise<void>;
  secret(name: Named, signal: AbortSignal): Promise<KubeObject | undefined>;
  /** Which state of a Secret was last seen; empty for none, and while changes are not told. */
  secretVersion(name: Named): string;
  revision(name: Named, signal: AbortSignal): Promise<FleetRevision | undefined>;
  writeStatus(
    object: FleetMember,
    status: FleetMemberStatus,
    signal: AbortSignal,
  ): Promise<boolean>;
  emit(event: EventNote, id: { id: string; time: string }, signal: AbortSignal): Promise<void>;
};

/** How a kind is reached; what we need of it is whether it has namespaces. */
export type Kind = {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
};

/** What is done to the objects of a Fleet in its cluster, as the Fleet's user there. */
export type HandsPort = {
  /** For a user who may not do everything with a dry run. */
  inspect(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Inspection>>;
  apply(
    objects: readonly DesiredObject[],
    asked: ReadonlyMap<string, readonly string[]>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ApplyReply>>;
  look(
    objects: readonly { readonly key: string; readonly live: Live }[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Health>>;
  release(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>>;
  delete(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>>;
  /** The data of a Secret in the cluster, base64 by key; undefined when it does not exist. */
  secretData(
    name: Named,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>> | undefined>;
  /** What the cluster's own Flux has applied last; undefined when nothing. */
  appliedRevision(signal: AbortSignal): Promise<string | undefined>;
  /** The Deployments, StatefulSets and DaemonSets of a namespace. */
  workloadsIn(namespace: string, signal: AbortSignal): Promise<readonly KubeObject[]>;
  /** Has the pods of a workload started anew; false when it is not there any more, or is another one. */
  restart(
    restart: { readonly workload: KubeObject; readonly value: string },
    signal: AbortSignal,
  ): Promise<boolean>;
  disarmFlux(signal: AbortSignal): Promise<Problem | undefined>;
};

/** One connected workload cluster: what the controller itself knows of it, and who does something there. */
export type WorkloadPort = {
  /** As this user; undefined is the controller itself. */
  as(user: Actor): HandsPort;
  /** uid of the namespace kube-system. */
  readonly clusterId: string;
  /** Whether the watches have gone on without a gap since this was last asked for with `true`. */
  isCurrent(anew: boolean): boolean;
  readonly kinds: {
    forget(): void;
    expect(objects: readonly KubeObject[]): void;
    find(apiVersion: string, kind: string, signal: AbortSignal): Promise<Kind | undefined>;
    findServed(group: string, kind: string, signal: AbortSignal): Promise<Kind | undefined>;
    all(signal: AbortSignal): Promise<readonly Kind[]>;
  };
  readonly inventory: {
    read(signal: AbortSignal): Promise<Ledger>;
    /** Throws ApiError 409 when the header is not the one last read or written. */
    confirm(signal: AbortSignal): Promise<void>;
    /** Writes the header, and all else unless only what repairs have learned is new. True when nothing is left. */
    storeSoon(
      ledger: { readonly header: Header; readonly inventory: Inventory },
      signal: AbortSignal,
    ): Promise<boolean>;
    store(
      ledger: { readonly header: Header; readonly inventory: Inventory },
      signal: AbortSignal,
    ): Promise<void>;
    secretKey(signal: AbortSignal): Promise<Uint8Array>;
  };
  observe(
    kinds: readonly Kind[],
    signal: AbortSignal,
  ): Promise<{ readonly unlisted: ReadonlyMap<string, Problem> }>;
  retain(kinds: readonly Kind[]): void;
  live(): ReadonlyMap<string, Live>;
  /** Whether these objects are there now, whoever made them: not from memory. */
  seek(keys: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, Inspection>>;
  establish(keys: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, boolean>>;
  stopLooking(): void;
};

export type ConnectRequest = {
  readonly key: string;
  readonly clusterUid: string;
  readonly kubeconfig: string;
  readonly what: string;
};

/** Connections to workload clusters, by key. */
export type ConnectionsPort = {
  get(request: ConnectRequest, signal: AbortSignal): Promise<WorkloadPort>;
  /** The hub itself, by this key. */
  management(key: string, signal: AbortSignal): Promise<WorkloadPort>;
  /** The connection that is there; nothing is dialled. */
  held(key: string): WorkloadPort | undefined;
  drop(key: string): Promise<void>;
};

/** One repository of an OCI registry. */
export type RepositoryPort = {
  resolve(tag: string, signal: AbortSignal): Promise<string>;
  tags(signal: AbortSignal): Promise<readonly string[]>;
  pull(digest: string, signal: AbortSignal): Promise<ArtifactFiles>;
  close(): Promise<void>;
};

export type RepositoryAccess = {
  /** Who pulls: what was kept for one is not found by another. */
  readonly as: Actor;
  readonly insecure: boolean | undefined;
  readonly ca: string | undefined;
  readonly dockerConfig: { readonly text: string; readonly what: string } | undefined;
};

/** Opens a repository; the caller closes it. */
export type Repositories = (reference: Reference, access: RepositoryAccess) => RepositoryPort;

/** One Git repository. */
export type GitPort = {
  resolve(ref: GitRef, signal: AbortSignal): Promise<Resolved>;
  fetch(
    request: { readonly commit: string; readonly path: string; readonly ref: GitRef },
    signal: AbortSignal,
  ): Promise<ArtifactFiles>;
};

export type GitAccess = Reader & {
  readonly insecure: boolean | undefined;
  readonly credentials: GitCredentials;
  /** What the Secret is called in messages. */
  readonly secret: string;
};

/** Finds a Git repository; nothing is held open between two operations. */
export type GitRepositories = (location: GitLocation, access: GitAccess) => GitPort;

/** A Git repository that can be written to. */
export type GitWriter = {
  /** `known` itself when the branch is still there. */
  tip(branch: string, signal: AbortSignal, known?: GitTip): Promise<GitTip | undefined>;
  publish(
    request: {
      readonly branch: string;
      readonly from?: string | undefined;
      readonly propose: (tip: GitTip | undefined) => Promise<GitProposal | undefined>;
      readonly author: { readonly name: string; readonly email: string };
      readonly now: Date;
    },
    signal: AbortSignal,
  ): Promise<{ readonly commit: string } | undefined>;
};

export type GitTip = { readonly commit: string; readonly files: ReadonlyMap<string, Buffer> };
export type GitProposal = {
  readonly edits: readonly { readonly path: string; readonly content: Buffer }[];
  readonly message: string;
};

export type GitWriters = (location: GitLocation, access: GitAccess) => GitWriter;

/** Secrets that Fleets name, each read now and as the Fleet's user. */
export type Secrets = {
  secretAs(as: Actor, name: Named, signal: AbortSignal): Promise<KubeObject | undefined>;
  /**
   * The Secrets with a holder's label for age identities. Of the manager's, those that this user may
   * not read are left out.
   */
  identitySecrets(as: Actor, holder: Holder, signal: AbortSignal): Promise<readonly KubeObject[]>;
};

/** ConfigMaps that Fleets name, each read now and as the Fleet's user. */
export type ConfigMaps = {
  configMapAs(as: Actor, name: Named, signal: AbortSignal): Promise<KubeObject | undefined>;
};

type Files = ReadonlyMap<string, Uint8Array>;

/** Renders templates away from this thread, within limits. */
export type RendererPort = {
  /**
   * The files of each context by path without `.hbs`, or why it has none. `key` is who waits when it
   * asks for too much. Throws what no context changes.
   */
  render(request: {
    readonly key: string;
    readonly files: Files;
    readonly contexts: readonly LayerContext[];
  }): Promise<readonly (Files | CapitanError)[]>;
};
