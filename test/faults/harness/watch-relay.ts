import { asMap, asString, encodeJson, parseJson } from "../../../pkg/json/index.ts";
import type { Exchange } from "./exchange.ts";
import type { ActiveRule, WatchLine } from "./rules.ts";

type Trying = <T>(work: () => T) => T;

/** One open watch: its lines go to the client one by one, as its rules will have them. */
export class WatchRelay {
  readonly exchange: Exchange;
  readonly #rules: ActiveRule[] = [];
  readonly #trying: Trying;

  /** Rewriting functions are called through `trying`. */
  constructor(exchange: Exchange, trying: Trying) {
    this.exchange = exchange;
    this.#trying = trying;
  }

  /** Puts the watch under a rule of kind `event`, from the next event on, or `poison`, at once. */
  attach(rule: ActiveRule): void {
    if (rule.effect.kind === "poison") this.exchange.write(`${rule.effect.text}\n`);
    if (rule.effect.kind === "event") this.#rules.push(rule);
  }

  /** Whether a rule rewrites this watch. */
  isUnder(rule: ActiveRule): boolean {
    return rule.active && this.#rules.includes(rule);
  }

  /** Writes an event that the API server has not sent. */
  send(event: WatchLine): void {
    this.exchange.write(`${encodeJson(event)}\n`);
  }

  /** Forwards a body to its end. Throws when it breaks off, and what a rewriting function throws. */
  async forward(body: AsyncIterable<Buffer>): Promise<void> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of body) {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        await this.#line(rest.subarray(0, end + 1));
        rest = rest.subarray(end + 1);
      }
    }
    this.exchange.end(rest);
  }

  async #line(line: Buffer): Promise<void> {
    const rules = this.#rules.filter((rule) => rule.active);
    const out = rules.length === 0 ? line : this.#trying(() => rewritten(line, rules));
    if (out.length > 0 && !this.exchange.write(out)) await this.exchange.drained();
  }
}

function rewritten(line: Buffer, rules: readonly ActiveRule[]): string {
  const parsed = asMap(parseJson(line.toString("utf8")));
  let events: readonly WatchLine[] = [
    { type: asString(parsed["type"]) ?? "", object: asMap(parsed["object"]) },
  ];
  for (const { effect } of rules) {
    if (effect.kind === "event") events = events.flatMap((event) => effect.rewrite(event) ?? []);
  }
  return events.map((event) => `${encodeJson(event)}\n`).join("");
}
