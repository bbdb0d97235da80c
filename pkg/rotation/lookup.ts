import {
  recipientsOfReader,
  type FileCopy,
  type Reader,
  type RotationFacts,
  type TreeFile,
} from "./facts.ts";

/**
 * Answers what is asked of the facts for each reader and each file, from maps that are made once for a
 * look: a fleet of hundreds of clusters has thousands of files. Nothing is decided here.
 */
export class Lookup {
  readonly facts: RotationFacts;
  readonly #files = new Map<string, TreeFile>();
  /** Places in the tree of the files that name a recipient, or open with it. */
  readonly #places = new Map<string, number[]>();
  readonly #named = new Map<string, Reader>();
  readonly #readers = new Map<string, Reader[]>();
  readonly #dataKeys = new Map<string, Set<string>>();

  constructor(facts: RotationFacts) {
    this.facts = facts;
    for (const [place, file] of facts.tree.files.entries()) {
      this.#files.set(file.path, file);
      for (const party of partiesOf(file)) append(this.#places, party, place);
    }
    for (const reader of facts.readers) {
      if (!this.#named.has(reader.name)) this.#named.set(reader.name, reader);
      for (const recipient of recipientsOfReader(reader)) append(this.#readers, recipient, reader);
      for (const copy of reader.revisions.flatMap(({ files }) => files)) this.#addKey(copy);
    }
  }

  #addKey(copy: FileCopy): void {
    for (const party of partiesOf(copy)) {
      const keys = this.#dataKeys.get(party) ?? new Set();
      this.#dataKeys.set(party, keys.add(copy.dataKey));
    }
  }

  /** The file at the tip with this path. */
  file(path: string): TreeFile | undefined {
    return this.#files.get(path);
  }

  /** The files at the tip that are for this reader (`isFor`), in the order of the tree. */
  filesFor(reader: Reader): readonly TreeFile[] {
    return this.filesKnowing(recipientsOfReader(reader));
  }

  /** The files at the tip that know one of these recipients (`knows`), in the order of the tree. */
  filesKnowing(recipients: ReadonlySet<string>): readonly TreeFile[] {
    const places = new Set([...recipients].flatMap((each) => this.#places.get(each) ?? []));
    return [...places].sort((a, b) => a - b).flatMap((i) => this.facts.tree.files[i] ?? []);
  }

  /** The reader with this name. */
  reader(name: string): Reader | undefined {
    return this.#named.get(name);
  }

  /** Readers that have or had this recipient; one, unless somebody copied a key. */
  readersWith(recipient: string): readonly Reader[] {
    return this.#readers.get(recipient) ?? [];
  }

  /** The readers that a file is for. */
  readersOf(file: FileCopy): readonly Reader[] {
    return [...new Set([...partiesOf(file)].flatMap((each) => this.readersWith(each)))];
  }

  /** The data keys that some recipients are known to have had: whoever has one reads later edits too. */
  dataKeysOpenTo(recipients: ReadonlySet<string>): ReadonlySet<string> {
    return new Set([...recipients].flatMap((each) => [...(this.#dataKeys.get(each) ?? [])]));
  }
}

/** Whom a file names, and whom it opens for. */
const partiesOf = ({ groups, opens }: FileCopy): ReadonlySet<string> =>
  new Set([...groups.flat(), ...opens]);

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const found = map.get(key);
  if (found === undefined) map.set(key, [value]);
  else found.push(value);
}
