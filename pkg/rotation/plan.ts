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
  const targets = facts.readers.flatMap((reader) => {
    const ends = facts.targets.get(reader.name);
    return ends === undefined ? [] : [{ reader, ends }];
  });
  const rows = targets.map(({ reader, ends }) => ({
    reader: reader.name,
    ends,
    next: wantedGeneration(reader, ends)?.generation ?? newest(reader) + 1,
    files: facts.tree.files.filter((file) => isFor(file, reader)).map(({ path }) => path),
    expires: expiring(reader, ends),
  }));
  const concerned = facts.tree.files.filter((file) =>
    targets.some(({ reader }) => isFor(file, reader)),
  );
  return { readers: rows, files: concerned.map((file) => planned(facts, file)) };
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

function planned(facts: RotationFacts, file: TreeFile): Plan["files"][number] {
  const names = namesOf(file);
  const ended = facts.readers.flatMap((reader) => {
    const ends = facts.targets.get(reader.name) ?? 0;
    return reader.generations
      .filter(({ generation, state }) => generation <= ends || state !== "active")
      .map(({ recipient }) => recipient);
  });
  return {
    path: file.path,
    recipients: [...names],
    stale: [...names.intersection(new Set(ended))],
    unknown: strangersIn(file, facts.readers),
    trouble: troubleOf(facts, file)?.message,
  };
}

/** Values that an ended key could read, by file and names of keys. To be changed at their origin after a leak. */
export function exposedTo(
  facts: RotationFacts,
  reader: Reader,
): ReadonlyMap<string, readonly string[]> {
  const own = recipientsOfReader(reader);
  const files = facts.tree.files.filter(
    (file) => file.path !== reader.canary && file.values.length > 0 && knows(file, own),
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
