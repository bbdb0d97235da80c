import type { Code } from "../errors/index.ts";

/** One age identity of a reader. Its private half is in a Secret on the hub, stored before anything names it. */
export type Generation = {
  readonly generation: number;
  readonly recipient: string;
  /** `ending`: no revision that needs it is pinned any more. `retired`: taken from whoever opens files with it. */
  readonly state: "active" | "ending" | "retired";
  readonly createdMs: number;
};

/** An encrypted file as it was read somewhere: at the tip of the branch, or in a revision. */
export type FileCopy = {
  readonly path: string;
  /** Recipients as the metadata name them, by key group. Labels: only opening proves them. */
  readonly groups: readonly (readonly string[])[];
  /** The recipients of those identities that were tried and do open it, with the data key of the file. */
  readonly opens: ReadonlySet<string>;
  /** Which data key it has, as a digest. */
  readonly dataKey: string;
};

/** An encrypted file at the tip of the branch. */
export type TreeFile = FileCopy & {
  /** Its bytes, as a digest. */
  readonly blob: string;
  /** Why it cannot be worked on: it does not open, or does not verify. */
  readonly trouble: { readonly code: Code; readonly message: string } | undefined;
  /** Kinds of recipients that are no age. */
  readonly foreign: readonly string[];
  /** The recipients that its creation rule names; undefined when no rule is for it. */
  readonly policy: readonly string[] | undefined;
  /** Where its encrypted values stand, as names of keys. */
  readonly values: readonly string[];
};

/** A state of the files that a reader opens now or may be told to open. */
export type Revision = {
  /** As people know it: a digest, a commit. */
  readonly name: string;
  /** Where the next one comes from, for people: `oci://…:stable`. */
  readonly source: string;
  /** `kept` is what a rollback could go to. */
  readonly use: "running" | "pinned" | "kept";
  readonly files: readonly FileCopy[];
};

/** That a reader was seen to open something encrypted to one generation only. */
export type Proof = {
  readonly generation: number;
  /** Of the cluster that it was seen on: another one with the same name proves nothing. */
  readonly uid: string;
  readonly revision: string;
  readonly atMs: number;
};

/** Who opens files with identities of their own: a cluster, or the manager. */
export type Reader = {
  readonly name: string;
  readonly uid: string;
  /** `gone` is also what is being deleted: nothing is waited for any more. */
  readonly presence: "reachable" | "away" | "suspended" | "gone";
  readonly generations: readonly Generation[];
  /** The recipients of the identities that were read back where files are opened; undefined when that could not be read. */
  readonly planted: ReadonlySet<string> | undefined;
  readonly revisions: readonly Revision[];
  readonly proofs: readonly Proof[];
  /** Where a canary is to lie so that the cluster's own Flux delivers it; undefined where it opens no files. */
  readonly canary: string | undefined;
};

/** A `.sops.yaml`, and the recipients that it names. */
export type RulesFile = {
  readonly path: string;
  readonly blob: string;
  readonly names: ReadonlySet<string>;
};

/** The tip of the branch. */
export type Tree = { readonly files: readonly TreeFile[]; readonly rules: readonly RulesFile[] };

/** What the rotation knows: observed, never remembered. */
export type RotationFacts = {
  /** By name of a reader: this generation and all before it are to end. */
  readonly targets: ReadonlyMap<string, number>;
  /** `Proven`: the old key goes when the new one is proven. `Immediate`: as soon as the new one is planted. */
  readonly rollout: "Proven" | "Immediate";
  /** All readers that files may name, the manager among them. */
  readonly readers: readonly Reader[];
  readonly tree: Tree;
  /** Names of branches that were proposed and are not merged; undefined when commits go to the branch itself. */
  readonly proposals: ReadonlySet<string> | undefined;
  readonly nowMs: number;
};

/** The canary that a reader's own Flux is to open: encrypted to this recipient and to nobody else. */
export type CanaryEdit = {
  readonly path: string;
  readonly reader: string;
  readonly recipient: string;
};

/** Who comes into a file, and beside whom: the same reader's older recipients. */
export type Successor = { readonly recipient: string; readonly beside: readonly string[] };

/** How one file is to be rewritten. */
export type FileEdit = {
  readonly path: string;
  readonly add: readonly Successor[];
  readonly remove: readonly string[];
  readonly newDataKey: boolean;
};

/** How a `.sops.yaml` is to be rewritten. */
export type RulesEdit = {
  readonly path: string;
  readonly add: readonly Successor[];
  readonly remove: readonly string[];
};

/** One commit: all or nothing. */
export type Commit = {
  readonly kind: "commit";
  readonly files: readonly FileEdit[];
  readonly rules: readonly RulesEdit[];
  readonly canaries: readonly CanaryEdit[];
  /** The branch to propose on; undefined for the branch itself. */
  readonly branch: string | undefined;
};

/** A write to the hub, about one reader's identities. */
export type HubWrite =
  | { readonly kind: "create"; readonly reader: string; readonly generation: number }
  | {
      readonly kind: "end" | "retire";
      readonly reader: string;
      readonly generations: readonly number[];
    };

export type Write = Commit | HubWrite;

/** What the manager is called among readers; no cluster can have that name. */
export const managerName = "(manager)";

/** All recipients that a file names. */
export const namesOf = ({ groups }: FileCopy): ReadonlySet<string> => new Set(groups.flat());

/** All recipients that a reader has or had. */
export const recipientsOfReader = ({ generations }: Reader): ReadonlySet<string> =>
  new Set(generations.map(({ recipient }) => recipient));

/** Whether a file is for this reader: it names one of its recipients, or opens with one. */
export function isFor(file: FileCopy, reader: Reader): boolean {
  const own = recipientsOfReader(reader);
  return !own.isDisjointFrom(namesOf(file)) || !own.isDisjointFrom(file.opens);
}

/** Whether a file knows one of these recipients, by its label or by opening. */
export const knows = (file: FileCopy, recipients: ReadonlySet<string>): boolean =>
  !recipients.isDisjointFrom(namesOf(file)) || !recipients.isDisjointFrom(file.opens);

/**
 * The generation that a reader is to have when those up to `ends` are gone: the newest in use.
 * Undefined when it has to be made first.
 */
export function wantedGeneration({ generations }: Reader, ends: number): Generation | undefined {
  const usable = generations.filter(
    ({ generation, state }) => generation > ends && state === "active",
  );
  return usable.toSorted((a, b) => b.generation - a.generation)[0];
}

/**
 * Whether a revision cannot be gone back to: a file in it opens with ended identities only. Whoever pins
 * revisions asks this, and refuses with KeyRetired.
 */
export function isExpired({ files }: Revision, reader: Reader): boolean {
  const usable = new Set(
    reader.generations.flatMap(({ state, recipient }) => (state === "active" ? [recipient] : [])),
  );
  return files.some((file) => isFor(file, reader) && file.opens.isDisjointFrom(usable));
}

/** A file copy after an edit. Under a new data key everybody who is named opens it, and nobody else. */
export function rewritten<T extends FileCopy>(file: T, edit: FileEdit, newKey: string): T {
  const groups = groupsAfter(file.groups, edit);
  if (edit.newDataKey) return { ...file, groups, opens: new Set(groups.flat()), dataKey: newKey };
  const added = edit.add.map(({ recipient }) => recipient);
  return { ...file, groups, opens: new Set([...file.opens, ...added]) };
}

/**
 * Key groups after an edit. Who comes stands first in the groups of those beside whom it comes, in the
 * first group when these are not named; who is there already stays.
 */
export function groupsAfter(
  groups: readonly (readonly string[])[],
  { add, remove }: Pick<FileEdit, "add" | "remove">,
): readonly (readonly string[])[] {
  const named = new Set(groups.flat());
  const come = add.filter(({ recipient }) => !named.has(recipient));
  const isBeside = (group: readonly string[], { beside }: Successor) =>
    beside.some((name) => group.includes(name));
  return groups.map((group, i) => {
    const here = come.filter(
      (successor) =>
        isBeside(group, successor) ||
        (i === 0 && !groups.some((other) => isBeside(other, successor))),
    );
    const names = [...here.map(({ recipient }) => recipient), ...group];
    return names.filter((name) => !remove.includes(name));
  });
}
