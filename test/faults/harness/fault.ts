import { setTimeout as sleep } from "node:timers/promises";
import {
  ActiveRule,
  type Answer,
  type Effect,
  type EventRewrite,
  type Gate,
  type Match,
  type Rule,
  type WatchLine,
} from "./rules.ts";
import type { WatchRelay } from "./watch-relay.ts";

/** A rule that keeps requests waiting. */
export type Hold = Rule & {
  /** How many requests wait now. */
  readonly waiting: number;
  /** Lets all go that wait, and all that come. */
  readonly release: () => void;
};

/** A rule over the events of watches. */
export type EventRule = Rule & {
  /** Writes an event of the test's own into every open watch. */
  readonly send: (event: WatchLine) => void;
};

/** What can be done to the requests that a match describes; each method adds one rule. */
export class Fault {
  readonly #match: Match;
  readonly #register: (rule: ActiveRule) => void;
  readonly #watches: () => Iterable<WatchRelay>;

  constructor(
    match: Match,
    register: (rule: ActiveRule) => void,
    watches: () => Iterable<WatchRelay>,
  ) {
    this.#match = match;
    this.#register = register;
    this.#watches = watches;
  }

  /** Answers by itself; without `body` by a Status object. The API server is not asked. */
  status(code: number, answer: Answer = {}): Rule {
    return this.#add({ kind: "status", code, answer });
  }

  /** Forwards, awaits the complete reply, then destroys the client's stream without an answer. Not for watches. */
  loseReply(): Rule {
    return this.#add({ kind: "loseReply" }, { watch: false });
  }

  /** Destroys the client's stream; the API server is not asked. */
  cutBefore(): Rule {
    return this.#add({ kind: "cutBefore" });
  }

  /** Waits before forwarding. Milliseconds. */
  delay(ms: number): Rule {
    const wait: Gate["wait"] = (gone) => sleep(ms, undefined, { signal: gone }).catch(ignore);
    return this.#add({ kind: "pause", gate: { wait, late: false } });
  }

  /** Keeps requests until `release`; those whose client gave up meanwhile are forgotten, or with `late` forwarded nevertheless. */
  hold({ late = false }: { readonly late?: boolean } = {}): Hold {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    let waiting = 0;
    const wait: Gate["wait"] = async (gone) => {
      waiting += 1;
      await (late ? released : Promise.race([released, aborted(gone)]));
      waiting -= 1;
    };
    const rule = this.#add({ kind: "pause", gate: { wait, late } });
    return {
      get hits() {
        return rule.hits;
      },
      get waiting() {
        return waiting;
      },
      release: () => {
        rule.remove();
        release();
      },
      remove: rule.remove,
    };
  }

  /** Rewrites the body of replies. Not for watches. */
  body(rewrite: (body: string, status: number) => string): Rule {
    return this.#add({ kind: "body", rewrite }, { watch: false });
  }

  /**
   * Rewrites the events of watches, open ones and later ones: hides, changes, repeats, reorders.
   * `n` and `times` count watches, not events.
   */
  event(rewrite: EventRewrite): EventRule {
    const rule = this.#add({ kind: "event", rewrite }, { watch: true });
    const watches = this.#watches;
    return {
      get hits() {
        return rule.hits;
      },
      remove: rule.remove,
      send: (event) => {
        for (const watch of watches()) if (watch.isUnder(rule)) watch.send(event);
      },
    };
  }

  /** Writes a line of its own into a watch that is open, else into the next one; once, unless `times` says more. */
  poison(text: string): Rule {
    return this.#add({ kind: "poison", text }, { watch: true, times: this.#match.times ?? 1 });
  }

  #add(effect: Effect, more: Match = {}): ActiveRule {
    const rule = new ActiveRule({ ...this.#match, ...more }, effect);
    this.#register(rule);
    return rule;
  }
}

const ignore = () => undefined;

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
