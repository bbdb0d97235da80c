import { messageOf } from "../../pkg/errors/index.ts";
import { LeaderLease, type KubeClient } from "../../pkg/kube/index.ts";
import type { newLog } from "../../pkg/log/index.ts";
import type { Options } from "./options.ts";

/** Whether this process may write, and for how long it leads. */
export type Leadership = {
  readonly isHeld: () => boolean;
  /** Waits until this process leads; false when it is asked to stop before. */
  readonly acquire: (signal: AbortSignal) => Promise<boolean>;
  /** Resolves when the Lease is lost, or given back because the signal aborts. */
  readonly hold: (signal: AbortSignal) => Promise<"lost" | "released">;
};

/** By the Lease, or without election always. */
export function leadership(
  client: KubeClient,
  options: Options,
  log: ReturnType<typeof newLog>,
): Leadership {
  if (!options.leaderElection)
    return { isHeld: () => true, acquire: () => Promise.resolve(true), hold: aborted };
  const lease = new LeaderLease(client, {
    namespace: options.systemNamespace,
    name: "capitan-controller",
    identity: options.identity,
    monotonicMs: () => performance.now(),
    now: () => new Date(),
    failed: (error) => log.warn({}, `Lease: ${messageOf(error)}`),
  });
  return {
    isHeld: () => lease.isHeld(),
    acquire: async (signal) => {
      try {
        await lease.acquire(signal);
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        throw error;
      }
    },
    hold: (signal) => lease.hold(signal),
  };
}

function aborted(signal: AbortSignal): Promise<"released"> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve("released");
    else signal.addEventListener("abort", () => resolve("released"), { once: true });
  });
}
