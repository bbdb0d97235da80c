import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterFacts } from "../cluster/index.ts";
import type { ClusterHub, ConnectionsPort, WorkloadPort } from "./ports.ts";
import type { Session } from "./session.ts";
import { nameOfKubeconfig, Sessions } from "./sessions.ts";

const minuteMs = 60_000;
const signal = new AbortController().signal;

/** A hub, its connections and a clock, to be changed between two passes over one cluster. */
class Ground {
  cluster = { namespace: "fleet", name: "c", uid: "first" } as ClusterFacts;
  /** Which state of the Secret the watch tells, and what is in it. */
  version = "1";
  kubeconfig = "a";
  nowMs = 0;
  #reads = 0;
  #connection: { readonly of: string; readonly workload: WorkloadPort } | undefined;
  #known: Session | undefined;
  readonly #sessions = new Sessions({
    hub: this.#hub(),
    connections: this.#connections(),
    clock: { now: () => new Date(), monotonicMs: () => this.nowMs, random: () => 0 },
  });

  drop(): void {
    this.#connection = undefined;
  }

  /** Opens the cluster; whether its Secret was read, and whether the session is the one from before. */
  async open(): Promise<{ readonly read: boolean; readonly same: boolean }> {
    const reads = this.#reads;
    const session = await this.#sessions.open(this.cluster, this.#known, signal);
    const same = session === this.#known;
    this.#known = session;
    assert.equal(session.ledger, undefined);
    session.ledger = {} as Session["ledger"];
    return { read: this.#reads > reads, same };
  }

  #hub(): Pick<ClusterHub, "secret" | "secretVersion"> {
    return {
      secretVersion: () => this.version,
      secret: ({ namespace, name }) => {
        assert.equal(`Secret ${namespace}/${name}`, nameOfKubeconfig(this.cluster));
        this.#reads += 1;
        const data = { value: Buffer.from(this.kubeconfig).toString("base64") };
        return Promise.resolve({
          apiVersion: "v1",
          kind: "Secret",
          metadata: { namespace, name },
          data,
        });
      },
    };
  }

  #connections(): ConnectionsPort {
    const none = () => Promise.reject(new Error("not the hub"));
    return {
      held: () => this.#connection?.workload,
      get: ({ clusterUid, kubeconfig }) => {
        const of = `${clusterUid}/${kubeconfig}`;
        if (this.#connection?.of !== of) this.#connection = { of, workload: {} as WorkloadPort };
        return Promise.resolve(this.#connection.workload);
      },
      management: none,
      drop: none,
    };
  }
}

const cases: readonly (readonly [
  what: string,
  change: (ground: Ground) => void,
  read: boolean,
  same: boolean,
])[] = [
  ["nothing changed", () => undefined, false, true],
  ["nothing is said of the Secret", (ground) => (ground.version = ""), true, true],
  ["another label on the Secret", (ground) => (ground.version = "2"), true, true],
  ["nothing changed for 4 minutes", (ground) => (ground.nowMs += 4 * minuteMs), false, true],
  ["nothing changed for 6 minutes", (ground) => (ground.nowMs += 6 * minuteMs), true, true],
  ["the connection was dropped", (ground) => ground.drop(), true, false],
  [
    "another Cluster of this name",
    (ground) => (ground.cluster = { ...ground.cluster, uid: "second" }),
    true,
    false,
  ],
  [
    "another kubeconfig",
    (ground) => {
      ground.version = "2";
      ground.kubeconfig = "b";
    },
    true,
    false,
  ],
  [
    "another kubeconfig, of which the watch lost the event, after 6 minutes",
    (ground) => {
      ground.kubeconfig = "b";
      ground.nowMs += 6 * minuteMs;
    },
    true,
    false,
  ],
];

for (const [what, change, read, same] of cases)
  test(`${what}: the kubeconfig is ${read ? "" : "not "}read, the session is ${same ? "the same" : "another"}`, async () => {
    const ground = new Ground();
    assert.deepEqual(await ground.open(), { read: true, same: false });
    change(ground);
    assert.deepEqual(await ground.open(), { read, same });
  });

test("a state that the watch did not tell yet is read again when it does, not taken for the one that was read", async () => {
  const ground = new Ground();
  ground.kubeconfig = "b";
  await ground.open();
  ground.version = "2";
  assert.deepEqual(await ground.open(), { read: true, same: true });
  assert.deepEqual(await ground.open(), { read: false, same: true });
});

test("as long as nothing is said of the Secret, it is read each time", async () => {
  const ground = new Ground();
  ground.version = "";
  assert.deepEqual(await ground.open(), { read: true, same: false });
  assert.deepEqual(await ground.open(), { read: true, same: true });
  assert.deepEqual(await ground.open(), { read: true, same: true });
});
