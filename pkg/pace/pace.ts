import type { Code } from "../errors/index.ts";
import type { LayerVerdict } from "../engine/index.ts";
import type { Problem } from "../engine/index.ts";

/** When a key is to be looked at again: after some time, or with growing pauses, as after a failure. */
export type Again =
  | {
      readonly kind: "after";
      readonly ms: number;
      /** What is in memory is enough to look at, as long as nothing else happens. */
      readonly light?: boolean;
    }
  | {
      readonly kind: "backoff";
      readonly baseMs: number;
      readonly maxMs: number;
      /** So many tries at `baseMs` before the pauses grow. */
      readonly flatTries: number;
    };

/** A cluster that is just starting: every second for two minutes, then slower. DESIGN §5. */
const starting: Again = { kind: "backoff", baseMs: 1_000, maxMs: 20_000, flatTries: 120 };
const failing: Again = { kind: "backoff", baseMs: 1_000, maxMs: 5 * 60_000, flatTries: 2 };
/** Waiting for something that no watch tells us about. */
const soon: Again = { kind: "after", ms: 2_000, light: true };
/** Something keeps an object from going; a watch tells of most ends of that. */
const leaving: Again = { kind: "backoff", baseMs: 2_000, maxMs: 15_000, flatTries: 10 };
/** How often a settled cluster is compared with its inventory again. */
const settled: Again = { kind: "after", ms: 10 * 60_000 };
/** Nothing is to be done until an event comes. */
export const untilEvent: Again = { kind: "after", ms: 24 * 3_600_000 };

const startingCodes = new Set<Code>([
  "ControlPlaneNotInitialized",
  "KubeconfigNotFound",
  "Unreachable",
  "CredentialsRejected",
  "CredentialsExpired",
  "ServerIdentityRefused",
  "KubeconfigMismatch",
]);

/** After a pass that could not be made. */
export function againAfterFailure(code: Code): Again {
  if (code === "ClusterDeleting" || code === "ClusterPaused") return settled;
  return startingCodes.has(code) ? starting : failing;
}

/** After a pass, from what it came to. */
export function againAfterPass(
  layers: readonly LayerVerdict[],
  removal: Problem | undefined,
): Again {
  if (layers.some(isBroken)) return failing;
  const blocked = removal !== undefined && removal.code !== "RemovalNeedsApproval";
  if (layers.some((layer) => layer.state === "Applying")) return soon;
  if (blocked) return leaving;
  const waiting = layers.filter(isTimed);
  const remainingMs = waiting.map((layer) => layer.remainingMs ?? 1_000);
  if (remainingMs.length > 0)
    return { kind: "after", ms: Math.min(...remainingMs) + 50, light: true };
  // Unhealthy after its timeout: the watch tells when that changes.
  return layers.every((layer) => layer.state === "Ready") ? settled : { kind: "after", ms: 60_000 };
}

/** What a watch tells about, or what has a time of its own. */
const watched = new Set<Code>(["HealthTimeout", "HealthFailed", "FieldConflict"]);

function isBroken({ state, problem }: LayerVerdict): boolean {
  return state === "Failed" && !(problem !== undefined && watched.has(problem.code));
}

const isTimed = ({ state, problem }: LayerVerdict) =>
  state === "Waiting" || problem?.code === "FieldConflict";

/** Whether nothing is waited for. */
export const isSettled = (again: Again): boolean => again === settled;

/**
 * The earlier of what two Fleets on one cluster ask for. One that fails must not make another wait
 * for its growing pauses, so a wait shorter than the first pause goes first.
 */
export function sooner(a: Again, b: Again): Again {
  if (a.kind === "backoff" && b.kind === "backoff") return a.maxMs <= b.maxMs ? a : b;
  const [first, second] = a.kind === "after" ? [a, b] : [b, a];
  if (first.kind === "backoff") return first;
  if (second.kind === "backoff") return first.ms <= 2 * second.baseMs ? first : second;
  return first.ms <= second.ms ? first : second;
}

/** The pause before the next look, after so many failures in a row; `random` in [0, 1) spreads it by 20 %. */
export function pauseMs(again: Again, failures: number, random: number): number {
  if (again.kind === "after") return again.ms;
  const exponent = Math.min(Math.max(0, failures - 1 - again.flatTries), 20);
  return Math.min(again.baseMs * 2 ** exponent, again.maxMs) * (0.8 + 0.4 * random);
}
