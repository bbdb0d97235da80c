import { CapitanError } from "../errors/index.ts";
import { selectVersion } from "../oci/index.ts";

/** Which commit is meant, as a Fleet writes it. */
export type GitRef = {
  readonly branch?: string | undefined;
  readonly tag?: string | undefined;
  readonly semver?: string | undefined;
  /** A whole name, such as refs/pull/1/head. */
  readonly name?: string | undefined;
  readonly commit?: string | undefined;
};

/** A reference as a server lists it. `peeled` is what an annotated tag points to. */
export type ServerRef = {
  readonly name: string;
  readonly oid: string;
  readonly peeled?: string | undefined;
};

/** What a reference means now. `revision` is in Flux's form: main@sha1:<commit>. */
export type Resolved = { readonly commit: string; readonly revision: string };

/** What to look for on a server. All that can be it begins with `prefix`; `label` is how people call it. */
export type Wanted =
  | { readonly kind: "name"; readonly prefix: string; readonly label: string }
  | { readonly kind: "range"; readonly prefix: string; readonly range: string };

const branchDefault = "main";
const heads = "refs/heads/";
const tags = "refs/tags/";
const nameLengthMax = 255;

/**
 * The moving part of a reference: name, semver, tag and branch, in this order, as for Flux; without
 * any the branch main. Throws RefInvalid.
 */
export function wantedOf({ name, semver, tag, branch = branchDefault }: GitRef): Wanted {
  if (name !== undefined) {
    if (!name.startsWith("refs/")) throw invalid(name, "does not begin with refs/");
    return { kind: "name", prefix: checkedName(name), label: name };
  }
  if (semver !== undefined) return { kind: "range", prefix: tags, range: semver };
  if (tag !== undefined) return { kind: "name", prefix: `${tags}${checkedName(tag)}`, label: tag };
  return { kind: "name", prefix: `${heads}${checkedName(branch)}`, label: branch };
}

/** The commit that a reference names by itself, if it does. Throws RefInvalid. */
export function pinnedBy(ref: GitRef): Resolved | undefined {
  const { commit } = ref;
  if (commit === undefined) return undefined;
  if (!/^[a-f0-9]{40}$/.test(commit)) throw invalid(commit, "is not the hash of a commit");
  const label = ref.name ?? ref.tag ?? ref.branch;
  return { commit, revision: `${label === undefined ? "" : `${label}@`}sha1:${commit}` };
}

/** The server's reference that is wanted. Throws GitNotFound, VersionNotFound. */
export function pickRef(
  wanted: Wanted,
  refs: readonly ServerRef[],
  what: string,
): Resolved & { readonly ref: ServerRef } {
  const label = wanted.kind === "name" ? wanted.label : highestTag(wanted.range, refs, what);
  const name = wanted.kind === "name" ? wanted.prefix : `${tags}${label}`;
  const ref = refs.find((candidate) => candidate.name === name);
  if (ref === undefined) throw new CapitanError("GitNotFound", `${what} has no ${name}`);
  const commit = ref.peeled ?? ref.oid;
  return { ref, commit, revision: `${label}@sha1:${commit}` };
}

function highestTag(range: string, refs: readonly ServerRef[], what: string): string {
  const names = refs.map(({ name }) => name).filter((name) => name.startsWith(tags));
  const found = selectVersion(
    names.map((name) => name.slice(tags.length)),
    range,
  );
  if (found !== undefined) return found;
  throw new CapitanError(
    "VersionNotFound",
    `${what} has no tag in the range ${JSON.stringify(range)}`,
  );
}

/** The rules of git-check-ref-format, and no name that a program would take for an option. */
function checkedName(name: string): string {
  const isBad =
    name.length > nameLengthMax ||
    /^[-/.]|[/.]$|\.lock$|\.\.|\/[-/.]|\.lock\/|@\{|[\s~^:?*[\\]/.test(name) ||
    name === "" ||
    Array.from(name).some((c) => c < " " || c === "\u007f");
  if (isBad) throw invalid(name, "cannot be the name of a branch or tag");
  return name;
}

const invalid = (text: string, why: string) =>
  new CapitanError("RefInvalid", `Git reference ${JSON.stringify(text.slice(0, 100))} ${why}`);
