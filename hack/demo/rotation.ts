// A key has leaked, and nobody knows which: every cluster gets a new one, and shows that it works, before
// the old one goes. Meanwhile CI is late, then fails, and an API server hangs.
import { conditionOf, type ClusterRotation, type KeyRotation } from "../../pkg/api/index.ts";
import { freezeServer, thawServer } from "../lab/faults.ts";
import { labNamespace } from "../lab/lab.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { until } from "../lab/wait.ts";
import type { Ground } from "./birth.ts";
import { capitan, follow } from "./cli.ts";
import { bringClusters, rotated } from "./rotation-clusters.ts";
import { prove, type Tried } from "./rotation-proof.ts";

/** What came of it; `ms` is from the command to the end of the rotation. */
export type Rotation = {
  readonly clusters: readonly ClusterRotation[];
  readonly tried: readonly Tried[];
  readonly ms: number;
};

const names = rotated.map(({ name }) => name);
const hanging = names.at(-1) ?? "";
const others = names.filter((name) => name !== hanging);
const stepMaxMs = 180_000;

export async function showRotation(ground: Ground): Promise<Rotation> {
  await bringClusters(ground);
  await prepareRotation(ground);
  const startedMs = performance.now();
  const rotation = await begin(ground);
  const ending = new AbortController();
  try {
    await Promise.all([
      watch(ground, { rotation, startedMs, signal: ending.signal }),
      disturb(ground, rotation),
    ]);
  } finally {
    ending.abort();
  }
  const ms = Math.round(performance.now() - startedMs);
  await say(ground, rotation);
  const clusters = (await statusOf(ground, rotation))?.clusters ?? [];
  return { clusters, ms, tried: await prove(ground) };
}

const wish = ["rotate", "keys", "--selector", "env=dev", "--path", "./config"];

/** Lets Capitan write to the repository, and shows the plan. */
async function prepareRotation({ lab, hub, remote, ci }: Ground): Promise<void> {
  const metadata = { name: "git-write", namespace: labNamespace };
  const stringData = { username: "capitan", password: "the lab's server asks nobody" };
  const secret = { apiVersion: "v1", kind: "Secret", metadata, stringData };
  await hub.apply(resources.secret, secret, { manager: "capitan-demo" });
  progress.action(`capitan ${wish.join(" ")} --repo … --plan`);
  print(await capitan(lab, [...wish, "--repo", remote.url, "--plan"]));
  await ci.next(["late", "fails"]);
}

/** Asks for the rotation; gives its name. */
async function begin({ lab, remote }: Ground): Promise<string> {
  progress.action(`capitan ${wish.join(" ")} --repo … --reason compromise`);
  const args = ["--repo", remote.url, "--reason", "compromise", "--wait=false"];
  const said = await capitan(lab, [...wish, ...args]);
  print(said);
  return /KeyRotation \S+\/(\S+):/.exec(said)?.[1] ?? "";
}

const print = (text: string) => {
  for (const line of text.trimEnd().split("\n")) process.stderr.write(`  ${line}\n`);
};

/** What a person sees who asks now. */
const say = async ({ lab }: Ground, rotation: string) => {
  progress.action(`capitan rotate status ${rotation}`);
  print(await capitan(lab, ["rotate", "status", rotation]));
};

type Watch = {
  readonly rotation: string;
  readonly startedMs: number;
  readonly signal: AbortSignal;
};

/** A line whenever a cluster stands elsewhere than before, from `capitan rotate status --watch`. */
async function watch({ lab }: Ground, { rotation, startedMs, signal }: Watch): Promise<void> {
  const shown = new Map<string, string>();
  const args = ["rotate", "status", rotation, "--watch", "--timeout", "15m"];
  await follow(lab, args, signal, (line) => {
    const [name = "", generation = "", state = "", proven = "", why = ""] = line.split(/ {3,}/);
    const proof = proven === "-" ? "" : `, generation ${generation} proven`;
    const text = `${[state, why].filter(Boolean).join(", ")}${proof}`;
    if (!names.includes(name) || shown.get(name) === text) return;
    shown.set(name, text);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(5);
    progress.done(`${seconds} s  ${name}: ${text}`);
  });
}

/** What goes wrong meanwhile, each at its moment, and what is done about it. */
async function disturb(ground: Ground, rotation: string): Promise<void> {
  const { lab, ci } = ground;
  const reach = (what: string, who: readonly string[], is: (one: ClusterRotation) => boolean) =>
    reached(ground, rotation, { what, who, is });
  const waitsFor = (reason: string) => (one: ClusterRotation) => one.reason === reason;
  await reach("to wait for CI, which is late", names, waitsFor("AwaitingPublish"));
  await say(ground, rotation);
  progress.action(`the API server of ${hanging} stops answering`);
  await freezeServer(lab, hanging);
  try {
    await reach("to be away", [hanging], waitsFor("ClusterAway"));
    progress.action("CI's run goes on");
    await ci.release();
    await reach(
      "to be proven",
      others,
      ({ proof, generation }) => proof?.generation === generation,
    );
    await until(async () => (await ci.runs()).some(({ ok }) => !ok), {
      deadlineMs: stepMaxMs,
      what: "CI to fail",
      everyMs: 200,
    });
    progress.action("CI's next run has failed");
    await reach("to wait for CI, which failed", others, waitsFor("AwaitingPublish"));
    await say(ground, rotation);
    progress.action("somebody presses retry");
    await ci.retry();
    await reach("to be done", others, ({ state }) => state === "Done");
  } finally {
    progress.action(`the API server of ${hanging} goes on`);
    await thawServer(lab, hanging);
  }
  await until(async () => (await statusOf(ground, rotation))?.completedTime, {
    deadlineMs: stepMaxMs,
    what: "the rotation to be complete",
    everyMs: 200,
  });
}

async function statusOf({ hub }: Ground, name: string): Promise<KeyRotation["status"]> {
  const found = await hub.get(resources.keyRotation, { namespace: labNamespace, name });
  return (found as KeyRotation | undefined)?.status;
}

type Moment = {
  readonly what: string;
  readonly who: readonly string[];
  readonly is: (one: ClusterRotation) => boolean;
};

async function reached(ground: Ground, rotation: string, { what, who, is }: Moment): Promise<void> {
  await until(
    async () => {
      const status = await statusOf(ground, rotation);
      const there = status?.clusters?.filter((one) => who.includes(one.name) && is(one)) ?? [];
      if (there.length === who.length) return true;
      throw new Error(conditionOf(status?.conditions, "Ready")?.message ?? "no status yet");
    },
    { deadlineMs: stepMaxMs, what: `${who.join(", ")} ${what}`, everyMs: 100 },
  );
}
