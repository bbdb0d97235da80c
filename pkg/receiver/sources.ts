import type { ReceiverSpec } from "../api/index.ts";
import { asList, asMap, asString, type JsonMap } from "../json/index.ts";
import { matchesSelector } from "../object/index.ts";
import { selectVersion } from "../oci/index.ts";
import { repositoryOf, type Pushed } from "./payload.ts";

/** Where a layer of a Fleet comes from, as far as a push may concern it: what moves. */
export type Source = {
  readonly kind: "git" | "oci";
  /** `host/path` for Git; for OCI the repository without its registry. */
  readonly repository: string;
  readonly moves: By;
};

/** By what a source moves: one whole name, or any tag in a range. */
type By =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "range"; readonly range: string };

/** What is known of a Fleet. */
export type Watched = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sources: readonly Source[];
};

const heads = "refs/heads/";
const tags = "refs/tags/";

/** The sources of a Fleet's spec that the hub resolves. Reads what came past the CRD too; what it cannot read is none. */
export function sourcesOf(spec: unknown): readonly Source[] {
  return asList(asMap(spec)["layers"]).flatMap((item) => {
    const { oci, git, flux } = asMap(item);
    const { artifact, version, sync } = asMap(flux);
    const { follow, ...synced } = asMap(sync);
    // What the cluster's own Flux follows by itself is not for the hub to look at.
    const pinned = follow === "Tag" ? {} : synced;
    return [
      ...fromOci(asMap(oci)),
      ...fromGit(asMap(git)),
      ...fromOci({ ...asMap(artifact), ref: { semver: version } }),
      ...fromOci(asMap(pinned["oci"])),
      ...fromGit(asMap(pinned["git"])),
    ];
  });
}

function fromGit({ url, ref }: JsonMap): readonly Source[] {
  const repository = repositoryOf(asString(url) ?? "");
  const { commit, name, semver, tag, branch } = asMap(ref);
  if (repository === undefined || commit !== undefined) return [];
  const range = asString(semver);
  const whole =
    asString(name) ??
    (typeof tag === "string" ? `${tags}${tag}` : `${heads}${asString(branch) ?? "main"}`);
  const moves: By =
    name === undefined && range !== undefined
      ? { kind: "range", range }
      : { kind: "name", name: whole };
  return [{ kind: "git", repository, moves }];
}

function fromOci({ url, ref }: JsonMap): readonly Source[] {
  const [, repository] = /^oci:\/\/[^/]+\/(.+)$/.exec(asString(url) ?? "") ?? [];
  const { digest, semver, tag } = asMap(ref);
  if (repository === undefined || digest !== undefined) return [];
  const range = asString(semver);
  const moves: By =
    range === undefined
      ? { kind: "name", name: asString(tag) ?? "latest" }
      : { kind: "range", range };
  return [{ kind: "oci", repository, moves }];
}

/** Whether a Receiver of the Fleet's namespace wakes it up for what was pushed. */
export function isWokenBy(fleet: Watched, { resources }: ReceiverSpec, pushed: Pushed): boolean {
  const isNamed = resources.some(({ name, matchLabels }) =>
    name === undefined
      ? matchLabels !== undefined && matchesSelector({ matchLabels }, fleet.labels)
      : name === fleet.name,
  );
  if (!isNamed || pushed.kind === "nothing") return false;
  return pushed.kind === "anything" || fleet.sources.some((source) => concerns(source, pushed));
}

function concerns(source: Source, pushed: Pushed & { kind: "git" | "oci" }): boolean {
  const { kind, repository, moves } = source;
  if (kind !== pushed.kind) return false;
  if (pushed.kind === "git") {
    const { repositories, ref } = pushed;
    return repositories.includes(repository) && (ref === undefined || isMovedBy(moves, ref, tags));
  }
  return pushed.tags.some((push) => push.repository === repository && isMovedBy(moves, push.tag));
}

function isMovedBy(by: By, name: string, prefix = ""): boolean {
  if (by.kind === "name") return by.name === name;
  return (
    name.startsWith(prefix) && selectVersion([name.slice(prefix.length)], by.range) !== undefined
  );
}
