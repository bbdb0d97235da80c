import {
  isFor,
  knows,
  namesOf,
  recipientsOfReader,
  wantedGeneration,
  type Reader,
  type RotationFacts,
  type TreeFile,
} from "./facts.ts";
import { Lookup } from "./lookup.ts";
import { strangersIn, troubleOf } from "./stage.ts";

/** What a rotation would do, and what it would find. Nothing in it is secret. */
export type Plan = {
  readonly readers: readonly {
    readonly reader: string;
    readonly ends: number;
    /** The generation that is used then; made when it is not there. */
    readonly next: number;
    readonly files: readonly string[];
    /** Revisions that cannot be gone back to afterwards. */
    readonly expires: readonly string[];
  }[];
  readonly files: readonly {
    readonly path: string;
    readonly recipients: readonly string[];
    /** Ended, or retired, and still in the file. */
    readonly stale: readonly string[];
    /** In the file, and neither in its rule nor anybody's that we know. */
    readonly unknown: readonly string[];
    /** Why it would stop the rotation. */
    readonly trouble: string | undefined;
  }[];
};

/** The plan of a rotation. Reads only. */
export function planOf(facts: RotationFacts): Plan {
  const lookup = new Lookup(facts);
  const targets = facts.readers.flatMap((reader) => {
    const ends = facts.targets.get(reader.name);
    return ends === undefined ? [] : [{ reader, ends }];
  });
  const rows = targets.map(({ reader, ends }) => ({
    reader: reader.name,
    ends,
    next: wantedGeneration(reader, ends)?.generation ?? newest(reader) + 1,
    files: lookup.filesFor(reader).map(({ path }) => path),
    expires: expiring(reader, ends),
  }));
  const own = new Set(targets.flatMap(({ reader }) => [...recipientsOfReader(reader)]));
  const ended = new Set(facts.readers.flatMap((reader) => endedOf(facts, reader)));
  const files = lookup.filesKnowing(own).map((file) => planned(lookup, file, ended));
  return { readers: rows, files };
}

/** Recipients of generations that are to end, or have ended. */
function endedOf({ targets }: RotationFacts, { name, generations }: Reader): readonly string[] {
  const ends = targets.get(name) ?? 0;
  return generations.flatMap(({ generation, state, recipient }) =>
    generation <= ends || state !== "active" ? [recipient] : [],
  );
}

const newest = ({ generations }: Reader) =>
  Math.max(0, ...generations.map(({ generation }) => generation));

function expiring(reader: Reader, ends: number): readonly string[] {
  const staying = reader.generations.filter(
    ({ generation, state }) => generation > ends && state === "active",
  );
  const left = new Set(staying.map(({ recipient }) => recipient));
  const gone = reader.revisions.filter(
    ({ use, files }) =>
      use === "kept" &&
      files.some((file) => isFor(file, reader) && file.opens.isDisjointFrom(left)),
  );
  return [...new Set(gone.map(({ name }) => name))];
}

function planned(
  lookup: Lookup,
  file: TreeFile,
  ended: ReadonlySet<string>,
): Plan["files"][number] {
  const names = namesOf(file);
  return {
    path: file.path,
    recipients: [...names],
    stale: [...names.intersection(ended)],
    unknown: strangersIn(lookup, file),
    trouble: troubleOf(lookup, file)?.message,
  };
}

/** Values that an ended key could read, by file and names of keys. To be changed at their origin after a leak. */
export function exposedTo(
  facts: RotationFacts,
  ...readers: readonly Reader[]
): ReadonlyMap<string, readonly string[]> {
  const own = new Set(readers.flatMap((reader) => [...recipientsOfReader(reader)]));
  const canaries = new Set(readers.map(({ canary }) => canary));
  const files = facts.tree.files.filter(
    (file) => !canaries.has(file.path) && file.values.length > 0 && knows(file, own),
  );
  return new Map(files.map(({ path, values }) => [path, values]));
}

/** How many files at the tip a key opens that is to end. */
export function filesOnEndedKeys({ readers, targets, tree }: RotationFacts): number {
  const ended = readers.flatMap((reader) => endedIn(reader, targets.get(reader.name) ?? 0));
  const old = new Set(ended);
  return tree.files.filter((file) => knows(file, old)).length;
}

const endedIn = ({ generations }: Reader, ends: number) =>
  generations.flatMap(({ generation, recipient }) => (generation <= ends ? [recipient] : []));
