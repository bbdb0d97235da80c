import { setTimeout } from "node:timers/promises";
import { hubResources, type Receiver } from "../api/index.ts";
import { WorkQueue, type Clock } from "../controllers/index.ts";
import { canonicalJson } from "../json/index.ts";
import { isNotFound, type KubeClient } from "../kube/index.ts";
import { annotations } from "../object/index.ts";
import { untilEvent, type Again } from "../pace/index.ts";
import {
  Delivery,
  isWokenBy,
  receiverStatus,
  type Headers,
  type Pushed,
} from "../receiver/index.ts";
import { Directory, type DirectoryOptions, type Listener } from "./directory.ts";

export type ReceivingOptions = Pick<
  DirectoryOptions,
  "client" | "namespaces" | "tokenSecrets" | "failed"
> & {
  readonly clock: Clock;
  /** Told of each Fleet that was, or could not be, asked to look at its sources. */
  readonly requested: (fleet: string, error: unknown) => void;
  /** Told why a status could not be written. */
  readonly statusFailed: (receiver: string, error: unknown) => void;
};

/** As the hub's objects name who wrote. */
const manager = "capitan-receiver";
const apiVersion = "capitan.dev/v1alpha1";
/** A Fleet is asked once in this time: at once, and once more at its end if anything came meanwhile. */
const pauseMs = 1_000;
/**
 * The registry tells of a push before it has moved the tag (distribution, `PutManifest`): so long it
 * is waited, and `pauseMs` later the Fleet is asked once more.
 */
const tagLagMs = 100;
/** Writes at once, for Fleets and for statuses. */
const concurrency = 4;
/** How long the start waits for the first lists. */
const syncMs = 10_000;

type Answer = { readonly status: number; readonly text: string };
type Incoming = { readonly method: string; readonly path: string; readonly headers: Headers };
type Reader = { readonly take: (piece: Buffer) => boolean; readonly end: () => Answer };

const answers: Readonly<Record<number, string>> = {
  400: "the body cannot be read",
  401: "the token or the signature is wrong",
  404: "nobody listens here",
  405: "deliveries are posted",
  413: "the body is too long",
  415: "the body is compressed",
  503: "not now",
};
const answer = (status: number): Answer => ({ status, text: answers[status] ?? "" });

/** What the receiver's process does, between its HTTP server and the hub. */
export class Receiving {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #directory: Directory;
  readonly #fleets: WorkQueue;
  readonly #statuses: WorkQueue;
  /** When each Fleet was asked last, on the monotonic clock. */
  readonly #askedMs = new Map<string, number>();
  /** Fleets that are asked once more after the next time. */
  readonly #twice = new Set<string>();
  #isSynced = false;

  constructor(options: ReceivingOptions) {
    const { client, clock, requested, statusFailed } = options;
    this.#client = client;
    this.#clock = clock;
    this.#fleets = new WorkQueue({
      concurrency,
      clock,
      reconcile: async (key, signal) => {
        const again = await this.#ask(key, signal);
        requested(key, undefined);
        return again;
      },
      failed: requested,
    });
    this.#statuses = new WorkQueue({
      concurrency,
      clock,
      reconcile: (key, signal) => this.#writeStatus(key, signal),
      failed: statusFailed,
    });
    this.#directory = new Directory({
      ...options,
      random: clock.random,
      changed: ({ metadata }) => this.#statuses.add(`${metadata.namespace ?? ""}/${metadata.name}`),
      fleetGone: (key) => this.#askedMs.delete(key),
    });
  }

  /** Keeps the caches and does what is due, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const caches = this.#directory.run(signal);
    // One namespace without its Role holds the others no longer than this.
    const patience = setTimeout(syncMs, undefined, { ref: false });
    await Promise.race([this.#directory.synced(), patience, caches]);
    this.#isSynced = true;
    this.#fleets.start(signal);
    this.#statuses.start(signal);
    await caches;
  }

  /** Whether deliveries can be judged. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** How long the oldest write that has not ended has been going on. */
  get longestRunningMs(): number {
    const loads = [this.#fleets, this.#statuses].map((queue) => queue.load().longestRunningMs);
    return Math.max(...loads);
  }

  /** Resolves when no write is under way any more. */
  async drained(): Promise<void> {
    await Promise.all([this.#fleets.drained(), this.#statuses.drained()]);
  }

  /** All Receivers, and whether each listens. */
  receivers(): readonly { readonly receiver: Receiver; readonly isReady: boolean }[] {
    return this.#directory.receivers().map((receiver) => ({
      receiver,
      isReady: this.#directory.tokenFor(receiver).kind === "good",
    }));
  }

  /** Answers by the head of a request alone, or takes its body. Never throws for what a stranger sends. */
  open({ method, path, headers }: Incoming): Answer | Reader {
    const listener = this.#directory.listenerAt(path);
    if (!this.#isSynced) return answer(503);
    if (listener === undefined) return answer(404);
    if (listener.receiver.spec.suspend) return answer(503);
    if (method !== "POST") return answer(405);
    const delivery = Delivery.begin(listener.receiver.spec, listener.token, headers);
    if (!(delivery instanceof Delivery)) return answer(delivery.status);
    return {
      take: (piece) => delivery.take(piece),
      end: () => {
        const verdict = delivery.end();
        if (verdict.kind === "refused") return answer(verdict.status);
        const woken = this.#wake(listener, verdict.pushed);
        return { status: 200, text: `${woken === 1 ? "1 Fleet is" : `${woken} Fleets are`} woken` };
      },
    };
  }

  /** Has every Fleet asked that the push concerns; gives how many. */
  #wake({ receiver }: Listener, pushed: Pushed): number {
    const { namespace = "" } = receiver.metadata;
    const fleets = this.#directory.fleetsIn(namespace);
    const woken = fleets.filter((fleet) => isWokenBy(fleet, receiver.spec, pushed));
    const isEarly = receiver.spec.type === "distribution";
    for (const { name } of woken) {
      const key = `${namespace}/${name}`;
      if (isEarly) this.#twice.add(key);
      const askedMs = this.#askedMs.get(key);
      const dueMs = askedMs === undefined ? 0 : askedMs + pauseMs - this.#clock.monotonicMs();
      this.#fleets.add(key, { afterMs: Math.max(isEarly ? tagLagMs : 0, dueMs) });
    }
    return woken.length;
  }

  /** Asks a Fleet to look at its sources now; that is all that is ever written to it. */
  async #ask(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const isTwice = this.#twice.delete(key);
    this.#askedMs.set(key, this.#clock.monotonicMs());
    const requestedAt = this.#clock.now().toISOString();
    const patch = { metadata: { annotations: { [annotations.requestedAt]: requestedAt } } };
    const options = { metadataOnly: true, manager, signal };
    try {
      await this.#client.mergePatch(hubResources.fleet, { namespace, name }, patch, options);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.#askedMs.delete(key);
    }
    return isTwice ? { kind: "after", ms: pauseMs } : untilEvent;
  }

  async #writeStatus(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const receiver = this.#directory.receiver(namespace, name);
    if (receiver === undefined) return untilEvent;
    const now = this.#clock.now().toISOString();
    const status = receiverStatus(receiver, this.#directory.tokenFor(receiver), now);
    if (canonicalJson(receiver.status ?? {}) === canonicalJson(status)) return untilEvent;
    const object = { apiVersion, kind: "Receiver", metadata: { namespace, name }, status };
    const options = { manager, metadataOnly: true, subresource: "status", signal };
    try {
      await this.#client.apply(hubResources.receiver, object, options);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return untilEvent;
  }
}
