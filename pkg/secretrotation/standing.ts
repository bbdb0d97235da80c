import type { HeldFile } from "./held.ts";

/** One file as a cluster gets it: by its own Flux, or opened by the hub. */
export type Delivered = {
  /** In the repository. */
  readonly path: string;
  /** Where the next state comes from, for people: `oci://…:stable`. */
  readonly source: string;
  /** What the cluster is to run, and what it runs; undefined where the file is not in it. */
  readonly pinned: { readonly revision: string; readonly held: HeldFile | undefined };
  readonly running: { readonly revision: string; readonly held: HeldFile | undefined } | undefined;
};

/** A cluster as it was seen. */
export type SeenCluster = {
  readonly name: string;
  /** `gone` is also what is being deleted. */
  readonly presence: "reachable" | "away" | "suspended" | "gone";
  readonly delivered: readonly Delivered[];
};

export type WaitReason = "AwaitingPublish" | "AwaitingApply" | "ClusterAway" | "ClusterSuspended";

/** Where a cluster stands with the values that it is to run. */
export type Standing =
  | { readonly kind: "gone" }
  /** It gets none of the files. */
  | { readonly kind: "unconcerned" }
  | { readonly kind: "wait"; readonly reason: WaitReason; readonly message: string }
  | { readonly kind: "runs"; readonly revision: string };

/** Where a cluster stands, from what was observed and nothing else. */
export function standingOf(cluster: SeenCluster): Standing {
  const { presence, delivered } = cluster;
  if (presence === "gone") return { kind: "gone" };
  if (delivered.length === 0) return { kind: "unconcerned" };
  const stale = delivered.filter((file) => !runsIt(file));
  const unpublished = stale.find(({ pinned }) => isOlder(pinned.held));
  const [first] = stale;
  if (first !== undefined) return waitsFor(cluster, unpublished ?? first);
  return { kind: "runs", revision: delivered[0]?.running?.revision ?? "" };
}

/** Why a file that a cluster gets is not the new one yet. */
function waitsFor({ name, presence }: SeenCluster, { path, source, pinned }: Delivered): Standing {
  const at = pinned.revision;
  if (presence === "suspended")
    return wait("ClusterSuspended", `${name} is suspended; the new ${path} waits: resume it`);
  if (isOlder(pinned.held)) {
    const why = `${name} is at ${at}, which has ${path} from before the change`;
    return wait("AwaitingPublish", `move ${source}: ${why}`);
  }
  if (presence === "away") return wait("ClusterAway", `${name} does not answer`);
  return wait("AwaitingApply", `${name} does not run the new ${path} yet: it is to run ${at}`);
}

const isOlder = (held: HeldFile | undefined) => held?.value === "older";

/** What is to go and is gone is right, too; what is gone back to an older state is not. */
function runsIt({ pinned, running }: Delivered): boolean {
  if (running === undefined || isOlder(running.held) || isOlder(pinned.held)) return false;
  return running.held !== undefined || pinned.held === undefined;
}

const wait = (reason: WaitReason, message: string): Standing => ({ kind: "wait", reason, message });

/** The Secrets that a cluster runs now: by namespace, by name, which state of it. */
export function secretsIn(
  delivered: readonly Delivered[],
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const secrets = new Map<string, Map<string, string>>();
  for (const { running } of delivered) {
    const { secret, mark = "" } = running?.held ?? {};
    if (secret === undefined) continue;
    const known = secrets.get(secret.namespace) ?? new Map<string, string>();
    secrets.set(secret.namespace, known.set(secret.name, mark));
  }
  return secrets;
}
