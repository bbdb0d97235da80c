import type { JsonMap } from "../../../pkg/json/index.ts";

/** What a rule can know of a request. */
export type RequestFacts = {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without "?"; "" when there is none. */
  readonly query: string;
  readonly userAgent: string;
  readonly watch: boolean;
};

/** Which requests a rule is about. Fields that are left out match everything. */
export type Match = {
  readonly method?: string;
  readonly path?: RegExp;
  readonly query?: RegExp;
  readonly userAgent?: RegExp;
  /** Only watches, or only what is no watch. */
  readonly watch?: boolean;
  /** Only the n-th request that the rest matches, from 1. */
  readonly n?: number;
  /** Only so many requests, then the rule is spent. */
  readonly times?: number;
};

/** A line of a watch: `{"type":"ADDED","object":{…}}`. */
export type WatchLine = { readonly type: string; readonly object: JsonMap };

/** What becomes of one event: nothing, itself or another, several. */
export type EventRewrite = (event: WatchLine) => WatchLine | undefined | readonly WatchLine[];

/** An answer instead of the API server's; without `body` a Kubernetes Status object. */
export type Answer = {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly causes?: readonly {
    readonly reason: string;
    readonly message?: string;
    readonly field?: string;
  }[];
};

/** What a rule does to a request. */
export type Effect =
  | { readonly kind: "status"; readonly code: number; readonly answer: Answer }
  | { readonly kind: "loseReply" }
  | { readonly kind: "cutBefore" }
  | { readonly kind: "pause"; readonly gate: Gate }
  | { readonly kind: "body"; readonly rewrite: (body: string, status: number) => string }
  | { readonly kind: "event"; readonly rewrite: EventRewrite }
  | { readonly kind: "poison"; readonly text: string };

/** Waits until a request may go on; ends early when its client is gone. */
export type Gate = {
  readonly wait: (gone: AbortSignal) => Promise<void>;
  /** Forwarded even if the client did not wait so long. */
  readonly late: boolean;
};

/** A rule that was added to a proxy. */
export type Rule = {
  /** How many requests it has acted on. */
  readonly hits: number;
  /** Ends the rule, also on watches that are open. */
  readonly remove: () => void;
};

/** A rule with its counters. */
export class ActiveRule implements Rule {
  hits = 0;
  readonly effect: Effect;
  readonly #match: Match;
  #seen = 0;
  #removed = false;

  constructor(match: Match, effect: Effect) {
    this.#match = match;
    this.effect = effect;
  }

  get active(): boolean {
    return !this.#removed;
  }

  /** Whether no later rule may act on a request that this one took. */
  get isAnswer(): boolean {
    return ["status", "loseReply", "cutBefore"].includes(this.effect.kind);
  }

  readonly remove = (): void => {
    this.#removed = true;
  };

  /** Counts a request; true when the rule acts on it. */
  take(request: RequestFacts): boolean {
    if (this.#removed || !fits(this.#match, request)) return false;
    this.#seen += 1;
    const { n = this.#seen, times = Infinity } = this.#match;
    if (n !== this.#seen || this.hits >= times) return false;
    this.hits += 1;
    return true;
  }
}

function fits(match: Match, request: RequestFacts): boolean {
  const is = <T>(wanted: T | undefined, found: T) => wanted === undefined || wanted === found;
  // `search`, because `test` of a global expression remembers where it was.
  const has = (wanted: RegExp | undefined, found: string) =>
    wanted === undefined || found.search(wanted) >= 0;
  return (
    is(match.method, request.method) &&
    is(match.watch, request.watch) &&
    has(match.path, request.path) &&
    has(match.query, request.query) &&
    has(match.userAgent, request.userAgent)
  );
}

/**
 * The rules that act on a request, in the order in which they were added, up to the first that
 * answers it. Rules after that one do not see the request.
 */
export function rulesFor(
  rules: readonly ActiveRule[],
  request: RequestFacts,
): readonly ActiveRule[] {
  const acting: ActiveRule[] = [];
  for (const rule of rules) {
    if (!rule.take(request)) continue;
    acting.push(rule);
    if (rule.isAnswer) break;
  }
  return acting;
}

const reasons: Readonly<Record<number, string>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Expired",
  413: "RequestEntityTooLarge",
  422: "Invalid",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};

/** The Status object that an API server would send with a code. */
export function statusBody(code: number, { message, reason, causes }: Answer): string {
  return JSON.stringify({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: message ?? `injected HTTP ${code}`,
    reason: reason ?? reasons[code] ?? "",
    ...(causes === undefined ? {} : { details: { causes } }),
    code,
  });
}
