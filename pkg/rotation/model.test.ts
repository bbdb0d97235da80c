import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  groupsAfter,
  isExpired,
  isFor,
  type Commit,
  type Generation,
  type HubWrite,
  type Reader,
  type Revision,
  type RotationFacts,
  type TreeFile,
} from "./facts.ts";
import { refusalOf } from "./safety.ts";
import { step } from "./step.ts";

/** An encrypted file of the model: who opens it, and which data key and content it has. */
type File = { readonly names: readonly string[]; readonly key: number; readonly content: number };
/** What one commit holds: the files, and for each what its rule names. */
type Snapshot = {
  /** The same for the same content. */
  readonly number: number;
  readonly files: Readonly<Record<string, File>>;
  readonly rules: Readonly<Record<string, readonly string[]>>;
};
type Key = Pick<Generation, "generation" | "state">;
/** A cluster, or the hub as a reader with the manager's key. */
type Cluster = {
  readonly uid: number;
  readonly presence: Reader["presence"];
  readonly keys: readonly Key[];
  /** Generations; undefined before the first time. */
  readonly planted: readonly number[] | undefined;
  readonly running: Snapshot;
  readonly pinned: Snapshot;
  readonly kept: readonly Snapshot[];
  readonly proofs: readonly { readonly generation: number; readonly uid: number }[];
};
type Proposed = { readonly base: Snapshot; readonly head: Snapshot };
type World = {
  readonly clusters: Readonly<Record<string, Cluster>>;
  readonly tip: Snapshot;
  /** Commits that CI has not published, oldest first. */
  readonly queue: readonly Snapshot[];
  readonly published: Snapshot;
  /** Commits on branches that nobody has merged; undefined when the branch itself can be pushed to. */
  readonly proposed: Readonly<Record<string, Proposed>> | undefined;
  readonly targets: Readonly<Record<string, number>>;
  readonly rollout: RotationFacts["rollout"];
  /** What the rotation has read and not acted on yet: it may be out of date by now. */
  readonly seen: World | undefined;
  /** Disturbances that may still come. */
  readonly budget: number;
};

const numbers = new Map<string, number>();
/** The number of a text: the same for the same text. */
function numberOf(text: string): number {
  const found = numbers.get(text) ?? numbers.size;
  numbers.set(text, found);
  return found;
}

function snapshotOf(files: Snapshot["files"], rules: Snapshot["rules"]): Snapshot {
  return { number: numberOf(JSON.stringify([files, rules])), files, rules };
}

const recipient = (name: string, generation: number) => `${name}-${generation}`;
const ownerOf = (name: string) => name.replace(/-\d+$/, "");
const clusterNames = ({ clusters }: World) => Object.keys(clusters);

const withCluster = (world: World, name: string, change: Partial<Cluster>): World => {
  const before = world.clusters[name];
  assert.ok(before);
  return { ...world, clusters: { ...world.clusters, [name]: { ...before, ...change } } };
};

/** A world in which each of the names has one file of its own and the first generation. */
function start(
  names: readonly string[],
  more: Pick<World, "targets" | "rollout" | "budget"> & { readonly protectedMain?: boolean },
): World {
  const owners = names.filter((name) => name !== "manager");
  const recipients = (name: string) => [recipient("manager", 1), recipient(name, 1)];
  const tip = snapshotOf(
    Object.fromEntries(
      owners.map((name) => [name, { names: recipients(name), key: 0, content: 0 }]),
    ),
    Object.fromEntries(owners.map((name) => [name, recipients(name)])),
  );
  const cluster: Cluster = {
    uid: 1,
    presence: "reachable",
    keys: [{ generation: 1, state: "active" }],
    planted: [1],
    running: tip,
    pinned: tip,
    kept: [],
    proofs: [],
  };
  const { targets, rollout, budget } = more;
  return {
    clusters: Object.fromEntries(
      [...new Set([...names, "manager"])].map((name) => [name, cluster]),
    ),
    tip,
    queue: [],
    published: tip,
    proposed: more.protectedMain === true ? {} : undefined,
    targets,
    rollout,
    seen: undefined,
    budget,
  };
}

const copyOf = (path: string, { names, key }: File) => ({
  path,
  groups: [names],
  opens: new Set(names),
  dataKey: `${path} ${key}`,
});

/** What the rotation observes. */
function observe(world: World): RotationFacts {
  const files = Object.entries(world.tip.files).map(([path, file]): TreeFile => ({
    ...copyOf(path, file),
    blob: JSON.stringify(file),
    trouble: undefined,
    foreign: [],
    policy: world.tip.rules[path],
    values: [],
  }));
  const names = new Set(Object.values(world.tip.rules).flat());
  return {
    targets: new Map(Object.entries(world.targets)),
    rollout: world.rollout,
    readers: clusterNames(world).map((name) => readerOf(world, name)),
    tree: { files, rules: [{ path: ".sops.yaml", blob: [...names].join(), names }] },
    proposals: world.proposed === undefined ? undefined : new Set(Object.keys(world.proposed)),
    nowMs: 1e9,
  };
}

function readerOf(world: World, name: string): Reader {
  const cluster = world.clusters[name];
  assert.ok(cluster);
  const { uid, presence, keys, planted, proofs, pinned, running, kept } = cluster;
  if (name === "manager") return managerOf(world, cluster);
  const known = presence === "away" ? undefined : planted;
  return {
    name,
    uid: String(uid),
    presence,
    generations: keys.map((key) => ({
      ...key,
      recipient: recipient(name, key.generation),
      createdMs: 0,
    })),
    planted:
      known === undefined
        ? undefined
        : new Set(known.map((generation) => recipient(name, generation))),
    revisions: [
      revisionOf(pinned, "pinned"),
      revisionOf(running, "running"),
      ...kept.map((snapshot) => revisionOf(snapshot, "kept")),
    ],
    proofs: proofs.map((proof) => ({ ...proof, uid: String(proof.uid), revision: "", atMs: 0 })),
    canary: undefined,
  };
}

/** The hub opens what any cluster is given, with all that it holds, and proves a key by itself. */
function managerOf(world: World, { keys }: Cluster): Reader {
  const held = keys.filter(({ state }) => state !== "retired");
  const others = clusterNames(world).filter(
    (name) => name !== "manager" && world.clusters[name]?.presence !== "gone",
  );
  return {
    name: "manager",
    uid: "1",
    presence: "reachable",
    generations: keys.map((key) => ({
      ...key,
      recipient: recipient("manager", key.generation),
      createdMs: 0,
    })),
    planted: new Set(held.map(({ generation }) => recipient("manager", generation))),
    revisions: others.flatMap((name) => readerOf(world, name).revisions),
    proofs: held.map(({ generation }) => ({ generation, uid: "1", revision: "", atMs: 0 })),
    canary: undefined,
  };
}

const revisionOf = (snapshot: Snapshot, use: Revision["use"]): Revision => ({
  name: String(snapshot.number),
  source: "oci://r/config:stable",
  use,
  files: Object.entries(snapshot.files).map(([path, file]) => copyOf(path, file)),
});

/** A data key that this file never had. */
function freshKey(world: World, path: string): number {
  const snapshots = [
    world.tip,
    world.published,
    ...world.queue,
    ...Object.values(world.proposed ?? {}).map(({ head }) => head),
    ...Object.values(world.clusters).flatMap(({ pinned, running, kept }) => [
      pinned,
      running,
      ...kept,
    ]),
  ];
  return 1 + Math.max(...snapshots.map(({ files }) => files[path]?.key ?? 0));
}

/** A snapshot with the rotation's commit in it. */
function committed(world: World, { files: edits, rules }: Commit): Snapshot {
  const { tip } = world;
  const files = { ...tip.files };
  for (const edit of edits) {
    const file = files[edit.path];
    assert.ok(file);
    const names = groupsAfter([file.names], edit)[0] ?? [];
    files[edit.path] = {
      ...file,
      names,
      key: edit.newDataKey ? freshKey(world, edit.path) : file.key,
    };
  }
  const ruled = Object.entries(tip.rules).map(([path, names]) => {
    const [edit] = rules;
    if (edit === undefined) return [path, names] as const;
    const add = edit.add.filter(({ beside }) => beside.some((name) => names.includes(name)));
    return [path, groupsAfter([names], { add, remove: edit.remove })[0] ?? []] as const;
  });
  return snapshotOf(files, Object.fromEntries(ruled));
}

const pushed = (world: World, tip: Snapshot): World => ({
  ...world,
  tip,
  queue: [...world.queue, tip].slice(-2),
});

function performHub(world: World, { kind, reader, ...write }: HubWrite): World {
  const keys = world.clusters[reader]?.keys ?? [];
  if (kind === "create") {
    const { generation } = write as { readonly generation: number };
    // POST: whoever was faster has made it.
    if (keys.some((key) => key.generation === generation)) return world;
    return withCluster(world, reader, { keys: [...keys, { generation, state: "active" }] });
  }
  const { generations } = write as { readonly generations: readonly number[] };
  const state = kind === "end" ? "ending" : "retired";
  return withCluster(world, reader, {
    keys: keys.map((key) => (generations.includes(key.generation) ? { ...key, state } : key)),
  });
}

/** What may come of a batch: any part of it, when the rotation is killed in it, or its answer lost. */
function acted(world: World, before: World): readonly World[] {
  const seen = observe(before);
  const { next } = step(seen);
  const after: World = { ...world, seen: undefined };
  if (next.kind !== "write") return [after];
  const [first] = next.writes;
  if (first?.kind === "commit") return [after, ...committedWorlds(after, seen)];
  const subsets = Array.from({ length: 2 ** next.writes.length }, (_, subset) =>
    next.writes.filter((_, i) => (subset >> i) % 2 === 1),
  );
  return subsets.map((writes) =>
    writes.reduce((so, write) => (write.kind === "commit" ? so : performHub(so, write)), after),
  );
}

/** The publisher asks again on the tip that it found, with what else was known before. */
function committedWorlds(world: World, seen: RotationFacts): readonly World[] {
  const { tree, proposals } = observe(world);
  const facts = { ...seen, tree, proposals };
  const { next } = step(facts);
  const [commit] = next.kind === "write" ? next.writes : [];
  if (commit?.kind !== "commit") return [];
  assert.equal(refusalOf(facts, commit), undefined);
  if (world.rollout === "Proven") assertProvenBefore(facts, commit);
  const head = committed(world, commit);
  assertNobodyLocked(world, head);
  if (commit.branch === undefined) return [pushed(world, head)];
  return [
    { ...world, proposed: { ...world.proposed, [commit.branch]: { base: world.tip, head } } },
  ];
}

/** No old key goes before the new one was proven on this cluster and is in all that it is pinned to. */
function assertProvenBefore({ readers }: RotationFacts, { files }: Commit): void {
  const removed = new Set(files.flatMap(({ remove }) => remove));
  for (const { name, uid, generations, proofs, revisions } of readers) {
    const own = new Set(generations.map((each) => each.recipient));
    const gone = removed.intersection(own);
    if (gone.size === 0) continue;
    const stay = generations.filter((each) => each.state === "active" && !gone.has(each.recipient));
    const proven = stay.filter(({ generation }) =>
      proofs.some((proof) => proof.generation === generation && proof.uid === uid),
    );
    assert.ok(proven.length > 0, `${name} has proven nothing`);
    const left = new Set(stay.map((each) => each.recipient));
    const inUse = revisions.flatMap(({ use, files: copies }) => (use === "kept" ? [] : copies));
    const losing = inUse.filter(({ groups }) => groups.flat().some((each) => gone.has(each)));
    assert.ok(
      losing.every(({ opens }) => !opens.isDisjointFrom(left)),
      `${name} has not got the new key in what it runs`,
    );
  }
}

/** A commit of the rotation leaves everybody who can be reached what they could read. */
function assertNobodyLocked(world: World, after: Snapshot): void {
  for (const name of clusterNames(world)) {
    const { planted, presence } = readerOf(world, name);
    if (planted === undefined || presence === "gone") continue;
    for (const [path, { names }] of Object.entries(world.tip.files)) {
      const reads = (each: string) => planted.has(each);
      const isLocked = names.some(reads) && after.files[path]?.names.some(reads) !== true;
      if (isLocked) assert.fail(`${name} loses ${path}: ${JSON.stringify(world)}`);
    }
  }
}

/** What goes on in a sound fleet, all the time. */
function ordinary(world: World): readonly World[] {
  const [oldest, ...queue] = world.queue;
  return [
    ...(oldest === undefined ? [] : [{ ...world, queue, published: oldest }]),
    ...merges(world),
    ...clusterNames(world).flatMap((name) => ordinaryFor(world, name)),
  ];
}

/** A person merges a proposal, where Git can: nothing else changed, or values did beside a new recipient. */
function merges(world: World): readonly World[] {
  return Object.entries(world.proposed ?? {}).flatMap(([branch, { base, head }]) => {
    const { [branch]: _, ...proposed } = world.proposed ?? {};
    const rest = { ...world, proposed };
    const files = { ...world.tip.files };
    for (const [path, file] of Object.entries(head.files)) {
      const merged = mergedFile(base.files[path], file, world.tip.files[path]);
      if (merged === undefined) return [];
      files[path] = merged;
    }
    const isFree = JSON.stringify(base.rules) === JSON.stringify(world.tip.rules);
    return isFree ? [pushed(rest, snapshotOf(files, head.rules))] : [];
  });
}

/** Undefined when there is a conflict. */
function mergedFile(
  base: File | undefined,
  ours: File,
  theirs: File | undefined,
): File | undefined {
  if (base === undefined || theirs === undefined) return undefined;
  const isSame = (a: File, b: File) => JSON.stringify(a) === JSON.stringify(b);
  if (isSame(base, theirs)) return ours;
  if (isSame(base, ours)) return theirs;
  const isInsert = ours.key === base.key;
  const isValue = theirs.key === base.key && String(theirs.names) === String(base.names);
  return isInsert && isValue ? { ...ours, content: theirs.content } : undefined;
}

/** Whoever pins revisions refuses what neither the cluster nor the hub could open. */
const isRefused = (world: World, snapshot: Snapshot, name: string) =>
  [name, "manager"].some((each) => isExpired(revisionOf(snapshot, "kept"), readerOf(world, each)));

function ordinaryFor(world: World, name: string): readonly World[] {
  const cluster = world.clusters[name];
  assert.ok(cluster);
  if (name === "manager") return [];
  const { pinned, running, kept, presence, keys, planted } = cluster;
  const worlds: World[] = [];
  const isPinnable = !isRefused(world, world.published, name);
  if (pinned.number !== world.published.number && isPinnable && presence !== "suspended") {
    const older = [pinned, ...kept].slice(0, 1);
    worlds.push(withCluster(world, name, { pinned: world.published, kept: older }));
  }
  if (presence === "away" || presence === "gone") return worlds;
  const wanted = keys
    .filter(({ state }) => state !== "retired")
    .map(({ generation }) => generation);
  if (String(wanted) !== String(planted))
    worlds.push(withCluster(world, name, { planted: wanted }));
  if (running.number !== pinned.number && presence === "reachable" && planted !== undefined)
    worlds.push(withCluster(world, name, { running: pinned }));
  const proven = provable(cluster, name);
  if (proven !== undefined)
    worlds.push(
      withCluster(world, name, {
        proofs: [...cluster.proofs, { generation: proven, uid: cluster.uid }],
      }),
    );
  return worlds;
}

/** A generation that is planted, named in what runs, and not proven yet. */
function provable(
  { running, planted = [], proofs, uid }: Cluster,
  name: string,
): number | undefined {
  const named = Object.values(running.files).flatMap(({ names }) => names);
  return planted.find(
    (generation) =>
      named.includes(recipient(name, generation)) &&
      !proofs.some((proof) => proof.generation === generation && proof.uid === uid),
  );
}

type Disturbance = readonly [string, (world: World) => readonly World[]];

/** One file at the tip changed by a person, who has fetched the tip and pushes onto it. */
const byHand =
  (change: (file: File, path: string, world: World) => File) =>
  (world: World): readonly World[] =>
    Object.entries(world.tip.files).flatMap(([path, file]) => {
      const changed = change(file, path, world);
      if (changed === file) return [];
      const files = { ...world.tip.files, [path]: changed };
      return [pushed(world, snapshotOf(files, world.tip.rules))];
    });

const toClusters =
  (change: (cluster: Cluster, world: World, name: string) => Partial<Cluster> | undefined) =>
  (world: World): readonly World[] =>
    clusterNames(world).flatMap((name) => {
      const cluster = world.clusters[name];
      if (name === "manager" || cluster === undefined || cluster.presence === "gone") return [];
      const changed = change(cluster, world, name);
      return changed === undefined ? [] : [withCluster(world, name, changed)];
    });

const disturbances: readonly Disturbance[] = [
  ["a value is set", byHand((file) => ({ ...file, content: file.content + 1 }))],
  ["sops rotate", byHand((file, path, world) => ({ ...file, key: freshKey(world, path) }))],
  [
    "sops updatekeys",
    byHand((file, path, world) => {
      const names = world.tip.rules[path] ?? [];
      return String(names) === String(file.names) ? file : { ...file, names };
    }),
  ],
  [
    "CI is late",
    ({ queue, ...world }) =>
      queue
        .slice(1)
        .map((late, i) => ({ ...world, queue: queue.toSpliced(i + 1, 1), published: late })),
  ],
  [
    "CI fails",
    ({ queue, ...world }) => queue.map((_, i) => ({ ...world, queue: queue.toSpliced(i, 1) })),
  ],
  [
    "away",
    toClusters(({ presence }) => (presence === "reachable" ? { presence: "away" } : undefined)),
  ],
  [
    "back",
    toClusters(({ presence }) => (presence === "away" ? { presence: "reachable" } : undefined)),
  ],
  [
    "suspended",
    toClusters(({ presence }) =>
      presence === "reachable" ? { presence: "suspended" } : undefined,
    ),
  ],
  ["deleted", toClusters(() => ({ presence: "gone" }))],
  [
    "created anew",
    toClusters(({ uid, pinned }) => ({
      uid: uid + 1,
      planted: undefined,
      presence: "reachable",
      running: pinned,
    })),
  ],
  [
    "rolled back",
    toClusters(({ pinned, kept }, world, name) => {
      const to = kept.find((snapshot) => !isRefused(world, snapshot, name));
      return to === undefined ? undefined : { pinned: to, kept: [pinned] };
    }),
  ],
  [
    "an old recipient is taken out with updatekeys",
    byHand((file) => {
      const isOld = (name: string) =>
        name.endsWith("-1") &&
        file.names.some((other) => other !== name && ownerOf(other) === ownerOf(name));
      const names = file.names.filter((name) => !isOld(name));
      return names.length < file.names.length ? { ...file, names } : file;
    }),
  ],
  [
    "an old branch is merged",
    (world) =>
      clusterNames(world).flatMap((name) => {
        const path = `${name}-late`;
        if (name === "manager" || path in world.tip.files) return [];
        const names = [recipient("manager", 1), recipient(name, 1)];
        const files = { ...world.tip.files, [path]: { names, key: 0, content: 0 } };
        return [
          pushed(
            world,
            snapshotOf(files, { ...world.tip.rules, [path]: world.tip.rules[name] ?? [] }),
          ),
        ];
      }),
  ],
  [
    "a second rotation",
    (world) =>
      Object.keys(world.targets).map((name) => {
        const newest = Math.max(
          ...(world.clusters[name]?.keys ?? []).map(({ generation }) => generation),
        );
        return { ...world, targets: { ...world.targets, [name]: newest } };
      }),
  ],
];

/** Every world that may follow. */
function following(world: World): readonly World[] {
  const rotation =
    world.seen === undefined
      ? [{ ...world, seen: { ...world, budget: 0 } }]
      : acted(world, world.seen);
  const disturbed =
    world.budget === 0
      ? []
      : disturbances.flatMap(([, happen]) => happen({ ...world, budget: world.budget - 1 }));
  return [...rotation, ...ordinary(world), ...disturbed];
}

/** The promise: whoever can be reached can read all that it runs, is pinned to and may be rolled back to. */
function assertReadable(world: World): void {
  for (const name of clusterNames(world)) {
    const cluster = world.clusters[name];
    assert.ok(cluster);
    if (cluster.presence === "gone" || cluster.presence === "away") continue;
    const reader = readerOf(world, name);
    const usable = reader.generations.filter(({ state }) => state !== "retired");
    const held = reader.planted ?? new Set(usable.map((each) => each.recipient));
    const readable = reader.revisions.filter(
      (revision) => revision.use !== "kept" || !isExpired(revision, reader),
    );
    const locked = readable.find(({ files }) =>
      files.some((file) => isFor(file, reader) && file.opens.isDisjointFrom(held)),
    );
    if (locked !== undefined)
      assert.fail(`${name} cannot read ${locked.use} ${locked.name}: ${JSON.stringify(world)}`);
  }
}

/** Everybody comes back, CI runs, branches are merged, until the rotation has nothing more to do. */
function calm(world: World): World {
  let now: World = { ...world, seen: undefined, queue: [], published: world.tip };
  for (const name of clusterNames(now))
    if (["away", "suspended"].includes(now.clusters[name]?.presence ?? ""))
      now = withCluster(now, name, { presence: "reachable" });
  return now;
}

const namesOfWorlds = new WeakMap<World, number>();
/** Worlds with the same name have the same future. */
function nameOfState(world: World): number {
  const known = namesOfWorlds.get(world);
  if (known !== undefined) return known;
  const seen = world.seen === undefined ? undefined : nameOfState(world.seen);
  const name = numberOf(
    JSON.stringify({ ...world, seen }, (key, value: unknown) =>
      ["running", "pinned", "published", "tip", "base", "head"].includes(key)
        ? (value as Snapshot).number
        : key === "queue" || key === "kept"
          ? (value as Snapshot[]).map((each) => each.number)
          : value,
    ),
  );
  namesOfWorlds.set(world, name);
  return name;
}

/** From here without any further trouble to the end; `ends` knows which worlds have reached it before. */
function assertEnds(world: World, ended: Set<number>): void {
  const passed: number[] = [];
  let now = calm(world);
  for (let i = 0; i < 200; i++) {
    const name = nameOfState(now);
    if (ended.has(name)) break;
    passed.push(name);
    const { next } = step(observe(now));
    const [usual] = ordinary(now);
    if (next.kind === "write") now = acted(now, now).at(-1) ?? now;
    else if (usual !== undefined) now = usual;
    else {
      if (next.kind !== "done")
        assert.fail(`${next.kind} at the end: ${JSON.stringify(step(observe(now)).standings)}`);
      assertOldGone(now);
      break;
    }
    now = calm(now);
    assertReadable(now);
    assert.ok(i < 199, "no end");
  }
  for (const name of passed) ended.add(name);
}

/** Nothing in use names the old key, nothing shares a data key with what it opens, nobody has it any more. */
function assertOldGone(world: World): void {
  const { readers } = observe(world);
  for (const [name, ends] of Object.entries(world.targets)) {
    const reader = readerOf(world, name);
    if (reader.presence === "gone") continue;
    const isOld = (each: string) => ownerOf(each) === name && Number(each.split("-")[1]) <= ends;
    const copies = readers.flatMap(({ revisions }) => revisions);
    const known = copies.flatMap(({ files }) =>
      files.flatMap(({ groups, dataKey }) => (groups.flat().some(isOld) ? [dataKey] : [])),
    );
    const inUse = reader.revisions
      .filter(({ use }) => use !== "kept")
      .flatMap(({ files }) => files);
    for (const { groups } of inUse) assert.ok(!groups.flat().some(isOld), JSON.stringify(world));
    for (const [path, file] of Object.entries(world.tip.files)) {
      assert.ok(!file.names.some(isOld), JSON.stringify(world));
      if (reader.generations.some((each) => file.names.includes(each.recipient)))
        assert.ok(!known.includes(copyOf(path, file).dataKey), JSON.stringify(world));
    }
    assert.ok(![...(reader.planted ?? [])].some(isOld), JSON.stringify(world));
  }
}

/** The steps stop by themselves, before the last line of defence does; done is what is done. */
function assertSound(world: World): void {
  const { next, standings } = step(observe(world));
  if (next.kind === "done") assertOldGone(world);
  for (const { stage } of standings)
    if (stage.kind === "stalled") assert.fail(`${stage.message}: ${JSON.stringify(world)}`);
}

/** Visits every world that can come of one, and says how many there are. */
function explore(first: World): number {
  const visited = new Set<number>([nameOfState(first)]);
  const ended = new Set<number>();
  const queue = [first];
  for (let world = queue.pop(); world !== undefined; world = queue.pop()) {
    assertReadable(world);
    assertSound(world);
    assertEnds(world, ended);
    for (const next of following(world)) {
      const name = nameOfState(next);
      if (visited.has(name)) continue;
      visited.add(name);
      queue.push(next);
    }
  }
  return visited.size;
}

/** Every order of two disturbances takes minutes: DEEP=1. */
const deep = process.env["DEEP"] === "1" ? 1 : 0;

const stories: readonly [string, readonly string[], Parameters<typeof start>[1]][] = [
  ["one cluster", ["a"], { targets: { a: 1 }, rollout: "Proven", budget: 1 + deep }],
  [
    "one cluster, immediately",
    ["a"],
    { targets: { a: 1 }, rollout: "Immediate", budget: 1 + deep },
  ],
  [
    "one cluster, behind a protected branch",
    ["a"],
    { targets: { a: 1 }, rollout: "Proven", budget: 1 + deep, protectedMain: true },
  ],
  ["the manager", ["a"], { targets: { manager: 1 }, rollout: "Proven", budget: 1 + deep }],
  [
    "a cluster and the manager at once",
    ["a"],
    { targets: { a: 1, manager: 1 }, rollout: "Proven", budget: deep },
  ],
];
for (const [name, readers, more] of stories)
  test(`S7 ${name}: every order of events, every crash`, (t) => {
    t.diagnostic(`${explore(start(readers, more))} worlds`);
  });

test("S7 three clusters and the manager: orders of events by chance, each to its end", (t) => {
  let worlds = 0;
  fc.assert(
    fc.property(
      fc.array(fc.nat(), { minLength: 40, maxLength: 120 }),
      fc.constantFrom("Proven" as const, "Immediate" as const),
      fc.boolean(),
      fc.subarray(["a", "b", "c", "manager"], { minLength: 1 }),
      (choices, rollout, protectedMain, targeted) => {
        const targets = Object.fromEntries(targeted.map((name) => [name, 1]));
        let world = start(["a", "b", "c"], { targets, rollout, budget: 6, protectedMain });
        for (const choice of choices) {
          const worldsAfter = following(world);
          world = worldsAfter[choice % worldsAfter.length] ?? world;
          worlds += 1;
          assertReadable(world);
        }
        assertEnds(world, new Set());
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
  t.diagnostic(`${worlds} worlds`);
});
