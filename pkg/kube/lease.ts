import { asMap, asString } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";
import { isConflict } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import type { Resource } from "../object/index.ts";

const leaseResource: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};

/** A lease that nobody renewed for this long is free. */
const leaseMs = 15_000;
/** A holder that could not renew for this long stops, 5 s before another may take over. */
const renewDeadlineMs = 10_000;
const retryMs = 2_000;

export type LeaseOptions = {
  readonly namespace: string;
  readonly name: string;
  /** Who we are, unique per process. */
  readonly identity: string;
  /** A monotonic clock in milliseconds: wall-clock jumps must not move leadership. */
  readonly monotonicMs: () => number;
  readonly now: () => Date;
  /** Told why the Lease could not be asked for. */
  readonly failed: (error: unknown) => void;
};

type Observed = { readonly version: string; readonly atMs: number };

/**
 * Leader election over a Lease. Other holders' clocks are never trusted: a lease is free when its
 * resourceVersion has not changed for `leaseMs` on our own clock. A Lease is no fence: writes carry
 * their own preconditions.
 */
export class LeaderLease {
  readonly #client: KubeClient;
  readonly #options: LeaseOptions;
  #observed: Observed | undefined;
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(client: KubeClient, options: LeaseOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Resolves when the lease is ours; rejects when the signal aborts. */
  async acquire(signal: AbortSignal): Promise<void> {
    const attempt = () =>
      this.#attempt(signal).catch((error: unknown) => {
        this.#options.failed(error);
        return false;
      });
    while (!(await attempt())) await sleep(retryMs, signal);
  }

  /** Keeps the lease. Resolves when it is lost or the signal aborts; on abort it is given free. */
  async hold(signal: AbortSignal): Promise<"lost" | "released"> {
    while (!signal.aborted) {
      // Asked after every wait: a process that was stopped finds itself late wherever it was.
      if (!this.isHeld()) return "lost";
      await sleep(Math.min(retryMs, this.#remainingMs()), signal).catch(() => undefined);
      if (signal.aborted) break;
      if (!this.isHeld()) return "lost";
      const timeout = AbortSignal.timeout(Math.ceil(this.#remainingMs()));
      await this.#attempt(AbortSignal.any([signal, timeout])).catch(() => false);
    }
    await this.#release();
    return "released";
  }

  /** Whether the lease was renewed recently enough to write. Nothing may be written when it was not. */
  isHeld(): boolean {
    return this.#remainingMs() > 0;
  }

  #remainingMs(): number {
    return this.#renewedAtMs + renewDeadlineMs - this.#options.monotonicMs();
  }

  /** One try to take or renew. False when somebody else holds it. */
  async #attempt(signal: AbortSignal): Promise<boolean> {
    const startedMs = this.#options.monotonicMs();
    const { namespace, name } = this.#options;
    const lease = await this.#client.get(leaseResource, { namespace, name }, { signal });
    if (lease !== undefined && !this.#isFree(lease)) return false;
    try {
      const written = await this.#write(lease, signal);
      this.#observe(written);
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
    this.#renewedAtMs = startedMs;
    return true;
  }

  #isFree(lease: KubeObject): boolean {
    const holder = asString(asMap(lease["spec"])["holderIdentity"]) ?? "";
    const changed = this.#observed?.version !== lease.metadata.resourceVersion;
    if (changed) this.#observe(lease);
    if (holder === "" || holder === this.#options.identity) return true;
    return (
      this.#observed !== undefined && this.#options.monotonicMs() - this.#observed.atMs > leaseMs
    );
  }

  #observe(lease: KubeObject): void {
    this.#observed = {
      version: lease.metadata.resourceVersion ?? "",
      atMs: this.#options.monotonicMs(),
    };
  }

  #write(lease: KubeObject | undefined, signal: AbortSignal): Promise<KubeObject> {
    const { namespace, name, identity } = this.#options;
    const time = microTime(this.#options.now());
    const held = asMap(lease?.["spec"]);
    const mine = held["holderIdentity"] === identity;
    const spec = {
      ...held,
      holderIdentity: identity,
      leaseDurationSeconds: leaseMs / 1000,
      renewTime: time,
      acquireTime: mine ? held["acquireTime"] : time,
    };
    const object = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: lease?.metadata ?? { namespace, name },
      spec,
    };
    return lease === undefined
      ? this.#client.create(leaseResource, object, { signal })
      : this.#client.replace(leaseResource, object, { signal });
  }

  async #release(): Promise<void> {
    const { namespace, name, identity } = this.#options;
    const signal = AbortSignal.timeout(2_000);
    const lease = await this.#client
      .get(leaseResource, { namespace, name }, { signal })
      .catch(() => undefined);
    if (lease === undefined || asMap(lease["spec"])["holderIdentity"] !== identity) return;
    const object = { ...lease, spec: { ...asMap(lease["spec"]), holderIdentity: "" } };
    await this.#client.replace(leaseResource, object, { signal }).catch(() => undefined);
  }
}

const microTime = (at: Date) => at.toISOString().replace("Z", "000Z");

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
