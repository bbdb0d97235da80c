import { randomBytes } from "node:crypto";
import type {
  Fleet,
  FleetMember,
  FleetMemberStatus,
  FleetRevision,
  Layer,
} from "../../../pkg/api/index.ts";
import {
  ClusterReconciler,
  Identities,
  Sources,
  WorkQueue,
  type ClusterHub,
} from "../../../pkg/controllers/index.ts";
import { Connections } from "../../../pkg/workload/index.ts";

const namespace = "fleet";
const cluster = {
  namespace,
  name: "c",
  uid: "c",
  labels: {},
  paused: false,
  deleting: false,
  controlPlaneInitialized: true,
  context: {} as never,
};

const unused = (what: string): never => {
  throw new Error(`no ${what} here`);
};

/** What one Fleet wants of the cluster; undefined withdraws it. */
export type Wish = Readonly<Record<string, readonly object[] | undefined>>;

/**
 * A hub in memory with one Cluster, so that the cluster reconciler of the product can be started,
 * killed and started again within a test, as often as there are writes. It remembers what a hub
 * remembers: members, their annotations and statuses.
 */
export class MemberHub {
  readonly #members = new Map<string, FleetMember>();
  readonly #revisions = new Map<string, FleetRevision>();
  readonly #kubeconfig: string;

  constructor(kubeconfig: string) {
    this.#kubeconfig = kubeconfig;
  }

  /** Pins the member of each Fleet to what it wants now. */
  want(wish: Wish): void {
    for (const [fleet, layers] of Object.entries(wish)) {
      const revision = `${fleet}-${this.#revisions.size}`;
      this.#revisions.set(revision, revisionOf(fleet, revision, layers ?? []));
      const before = this.#members.get(fleet);
      const state = layers === undefined ? "Removed" : "Present";
      const metadata = { ...before?.metadata, namespace, name: fleet, uid: fleet, generation: 1 };
      this.#members.set(fleet, {
        apiVersion: "capitan.dev/v1alpha1",
        kind: "FleetMember",
        metadata,
        spec: {
          fleetRef: {
            namespace,
            name: fleet,
          },
          clusterRef: { name: "c" },
          revision,
          state,
        },
        ...(before?.status === undefined ? {} : { status: before.status }),
      });
    }
  }

  /** The revision that the Fleet's member is pinned to does not exist any more, until something is wanted again. */
  loseRevision(fleet: string): void {
    this.#revisions.delete(this.#members.get(fleet)?.spec.revision ?? "");
  }

  /** Whether every member says Ready about what it is to be. */
  get isReady(): boolean {
    return [...this.#members.values()].every(
      ({ status }) => status?.conditions?.[0]?.status === "True",
    );
  }

  /** Reason and message of every member's Ready condition. */
  get said(): string {
    const members = [...this.#members.values()].map(({ metadata, status }) => {
      const ready = status?.conditions?.[0];
      return `${metadata.name}: ${ready?.reason ?? "?"}: ${ready?.message ?? ""}`;
    });
    return members.join("; ");
  }

  /** The same as a process lives it: woken up by what its watches tell, and by the time. */
  run() {
    const stop = new AbortController();
    const wake: Wake = { drift: ignore, trouble: ignore };
    const controller = this.start(wake);
    let passes = 0;
    const queue = new WorkQueue({
      concurrency: 4,
      clock,
      reconcile: (_, __, light) => {
        passes += 1;
        return controller.pass(light);
      },
      failed: ignore,
    });
    wake.drift = () => queue.add("c", { light: true });
    wake.trouble = () => queue.add("c", { afterMs: 200 });
    queue.add("c");
    queue.start(stop.signal);
    return {
      /** How often the cluster has been looked at. */
      passes: () => passes,
      /** As an event of the hub would: everything is looked at anew. */
      wake: () => queue.add("c"),
      stop: async () => {
        stop.abort();
        await queue.drained();
        await controller.stop();
      },
    };
  }

  /** Starts a controller: the real reconciler with real connections. Stop it as often as you like. */
  start(wake: Wake = { drift: ignore, trouble: ignore }) {
    const connections = new Connections({
      onHealthChange: () => wake.drift(),
      onDrift: () => wake.drift(),
      onTrouble: () => wake.trouble(),
      mayWrite: () => true,
      now: () => new Date(),
      random: Math.random,
      randomKey: () => randomBytes(32),
      management: undefined as never,
    });
    const nothing = () => Promise.resolve(undefined);
    const reconciler = new ClusterReconciler({
      hub: this.#port(),
      connections,
      clock,
      sources: new Sources({
        secrets: { secretAs: nothing, identitySecrets: () => Promise.resolve([]) },
        configMaps: { configMapAs: nothing },
        repositories: () => unused("registry"),
        gitRepositories: () => unused("repository"),
        renderer: { render: () => unused("template") },
      }),
      identities: new Identities(
        {
          identitySecrets: () => unused("identity"),
          identitySecretsIn: () => unused("identity"),
          createSecret: () => unused("identity"),
        },
        () => unused("identity"),
      ),
      tenancy: { platformNamespaces: new Set([namespace]) },
      log: {
        info: ignore,
        warn: ignore,
        error: ignore,
      },
      metrics: {
        applied: ignore,
        repaired: ignore,
      },
    });
    return {
      pass: (light = false) =>
        reconciler.reconcile(`${namespace}/c`, AbortSignal.timeout(60_000), light),
      stop: () => connections.close(),
    };
  }

  #port(): ClusterHub {
    const update = (name: string, change: (member: FleetMember) => FleetMember) => {
      const held = this.#members.get(name);
      if (held !== undefined) this.#members.set(name, change(held));
    };
    return {
      fleet: ({ name }) => fleetOf(name),
      fleetsBeside: () =>
        [...this.#members.keys()].map((name) => fleetOf(name, this.#members.get(name))),
      cluster: () => cluster,
      membersOn: () => [...this.#members.values()],
      membersAt: () => [],
      freshMember: ({ name }) => Promise.resolve(this.#members.get(name)),
      annotateMember: ({ name }, values) => {
        update(name, (member) => annotated(member, values));
        return Promise.resolve();
      },
      secret: () =>
        Promise.resolve({
          apiVersion: "v1",
          kind: "Secret",
          metadata: {
            namespace,
            name: "c-kubeconfig",
          },
          data: { value: Buffer.from(this.#kubeconfig).toString("base64") },
        }),
      secretVersion: () => "1",
      revision: ({ name }) => Promise.resolve(this.#revisions.get(name)),
      writeStatus: (member, status: FleetMemberStatus) => {
        update(member.metadata.name, (held) => approving({ ...held, status }));
        return Promise.resolve(true);
      },
      emit: () => Promise.resolve(),
    };
  }
}

const ignore = () => undefined;
const clock = { now: () => new Date(), monotonicMs: () => performance.now(), random: Math.random };

type Wake = { drift: () => void; trouble: () => void };

/** Somebody who approves whatever is asked. */
function approving(member: FleetMember): FleetMember {
  const message = member.status?.conditions?.[0]?.message ?? "";
  const approval = /approve-removal=(\w+)/.exec(message)?.[1];
  return approval === undefined
    ? member
    : annotated(member, { "capitan.dev/approve-removal": approval });
}

function annotated(
  member: FleetMember,
  values: Readonly<Record<string, string | null>>,
): FleetMember {
  const all = { ...member.metadata.annotations, ...values };
  const kept = Object.entries(all).filter((e): e is [string, string] => e[1] !== null);
  return { ...member, metadata: { ...member.metadata, annotations: Object.fromEntries(kept) } };
}

function fleetOf(name: string, member?: FleetMember): Fleet {
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: {
      namespace,
      name,
      generation: 1,
    },
    spec: {
      clusterSelector: {},
      suspend: false,
      interval: "10m",
      deletionPolicy: "Delete",
      layers: [],
    },
    status: {
      observedGeneration: 1,
      resolvedGeneration: 1,
      updateRevision: member?.spec.revision,
    },
  };
}

function revisionOf(fleet: string, name: string, layers: readonly object[]): FleetRevision {
  const full = (layers as readonly Partial<Layer>[]).map((layer) => ({
    wait: false,
    timeout: "10s",
    deletionPolicy: "Delete",
    dependsOn: [],
    ...layer,
  }));
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "FleetRevision",
    metadata: {
      namespace,
      name,
    },
    spec: {
      fleetRef: { name: fleet },
      layers: full as FleetRevision["spec"]["layers"],
    },
  };
}
