import type { Around, Deed, RotationWorld } from "../lab/rotation-world.ts";
import { columns } from "./report.ts";
import type { RotationFigures } from "./rotation.ts";
import { rounded } from "./statistics.ts";

/** In the order in which they come; the time of a look belongs to what it waits for. */
const phases = ["planted", "added", "published", "proven", "removed", "withdrawn"] as const;
type Phase = (typeof phases)[number];
/** What the time goes to; `look` is all that is not one of the others. */
const parts = ["fetch", "look", "rewrite", "push", "hub"] as const;
type Part = (typeof parts)[number];

const partOf: Readonly<Record<Deed, Part>> = {
  tip: "fetch",
  proposal: "rewrite",
  publish: "push",
  identity: "hub",
  status: "hub",
};

/** Milliseconds of one phase, or of all of them; `cpu` is of all threads of our process, the Git server's pipes too; `waitMs` is what the reconciler asked to wait, which nobody did. */
export type Spent = Readonly<Record<Part, number>> & {
  readonly ms: number;
  readonly cpu: number;
  readonly looks: number;
  readonly waitMs: number;
};
export type RotationTimes = { readonly all: Spent } & Readonly<Record<Phase, Spent>>;

const nothing: Spent = {
  fetch: 0,
  look: 0,
  rewrite: 0,
  push: 0,
  hub: 0,
  ms: 0,
  cpu: 0,
  looks: 0,
  waitMs: 0,
};

/** Notes what a rotation does when, by what it does to the world; its clock runs on while nobody waits. */
export class Recorder {
  readonly #spent = new Map<Phase, Spent>();
  #phase: Phase = "planted";
  #part: Part | undefined;
  #sinceMs = 0;
  #used = process.cpuUsage();
  #waitedMs = 0;
  #commits = 0;

  readonly now = (): Date => new Date(Date.now() + this.#waitedMs);

  readonly around: Around = async (deed, work) => {
    const outer = this.#part;
    // Before the first look it is the world itself that does something.
    if (outer === undefined) return work();
    this.#enter(deed);
    this.#turn(partOf[deed]);
    try {
      return await work();
    } finally {
      this.#turn(outer);
      this.#leave(deed);
    }
  };

  /** One look of the controller, and what it leads to. */
  async look<T>(work: () => Promise<T>): Promise<T> {
    this.#add({ looks: 1 });
    this.#sinceMs = performance.now();
    this.#used = process.cpuUsage();
    this.#part = "look";
    try {
      return await work();
    } finally {
      this.#turn(undefined);
    }
  }

  /** The controller wants to wait. */
  wait(ms: number): void {
    this.#waitedMs += ms;
    this.#add({ waitMs: ms });
  }

  /** Something changed in the fleet. */
  happened({ names, pinned, applied }: RotationWorld): void {
    if (this.#phase !== "published") return;
    const isRun = names.every((name) => applied.get(name)?.endsWith(pinned) === true);
    if (isRun) this.#phase = "proven";
  }

  times(): RotationTimes {
    const rows = phases.map((phase) => [phase, shown(this.#spent.get(phase) ?? nothing)] as const);
    const all = [...this.#spent.values()].reduce(sum, nothing);
    return { ...Object.fromEntries(rows), all: shown(all) } as RotationTimes;
  }

  #enter(deed: Deed): void {
    if (deed === "publish") this.#begin(this.#commits === 0 ? "added" : "removed");
    else if (deed === "identity" && this.#commits > 1) this.#begin("withdrawn");
  }

  #leave(deed: Deed): void {
    if (deed !== "publish") return;
    this.#commits += 1;
    if (this.#commits === 1) this.#begin("published");
  }

  #begin(phase: Phase): void {
    this.#turn(this.#part);
    this.#phase = phase;
  }

  /** What has passed goes to what was being done. */
  #turn(part: Part | undefined): void {
    const nowMs = performance.now();
    const ms = nowMs - this.#sinceMs;
    const { user, system } = process.cpuUsage(this.#used);
    if (this.#part !== undefined) this.#add({ [this.#part]: ms, ms, cpu: (user + system) / 1_000 });
    this.#sinceMs = nowMs;
    this.#used = process.cpuUsage();
    this.#part = part;
  }

  #add(more: Partial<Spent>): void {
    const before = this.#spent.get(this.#phase) ?? nothing;
    this.#spent.set(this.#phase, sum(before, { ...nothing, ...more }));
  }
}

function sum(a: Spent, b: Spent): Spent {
  const keys = Object.keys(nothing) as (keyof Spent)[];
  return Object.fromEntries(keys.map((key) => [key, a[key] + b[key]])) as Spent;
}

const shown = (spent: Spent): Spent =>
  Object.fromEntries(Object.entries(spent).map(([key, ms]) => [key, rounded(ms)])) as Spent;

/** The tables for people. */
export function rotationTables(figures: readonly RotationFigures[]): string {
  const head =
    "Rotation of keys: the real reconciler, real files, a real Git server on loopback; the hub, members and clusters are SIMULATED and take no time";
  return `${[head, ...figures.map(tableOf), scaleOf(figures)].join("\n\n")}\n`;
}

function tableOf({ clusters, files, times, anchor, rssMb, ...figures }: RotationFigures): string {
  const row = (name: string, { ms, cpu, looks, waitMs, ...spent }: Spent) =>
    [name, ms, cpu, ...parts.map((part) => spent[part]), looks, waitMs].map(String);
  const rows = [
    ["PHASE", "MS", "CPU", ...parts.map((part) => part.toUpperCase()), "LOOKS", "WAITING"],
    ...phases.map((phase) => row(phase, times[phase])),
    row("all", times.all),
  ];
  const { addMs, removeMs, gitMs } = anchor;
  const { perAnchor, perGoCpu } = figures;
  const beside = `anchor: Go and sops' library ${addMs} + ${removeMs} ms (add, remove), git commit and push ${gitMs} ms: ${perAnchor} ×; of Go's CPU ${perGoCpu} ×`;
  const head = `${clusters} clusters, ${files} files changed; largest resident set ${rssMb} MB (with the simulation)`;
  return [head, columns(rows), beside].join("\n");
}

function scaleOf(figures: readonly RotationFigures[]): string {
  const each = figures.map(
    ({ clusters, times: { all } }) =>
      `${clusters}: ${rounded(all.ms / clusters, 1)} ms (CPU ${rounded(all.cpu / clusters, 1)})`,
  );
  return `per cluster of ${each.join(", of ")}`;
}
