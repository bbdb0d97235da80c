import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import type { Content, FileCopy, RulesFile, Tree, TreeFile } from "../rotation/index.ts";
import {
  creationRuleFor,
  formatOf,
  inspectFile,
  isEncrypted,
  parseSopsConfig,
  recipientsOf,
  SopsError,
  type Identity,
  type Inspected,
  type SopsConfig,
} from "../sops/index.ts";
import { Kept } from "./kept.ts";

/** Whose an identity is, so that files are tried with those of their readers only. */
export type Keyring = {
  readonly manager: readonly Identity[];
  /** All identities of the reader that has this recipient. */
  readonly ofReaderWith: (recipient: string) => readonly Identity[];
};

type Files = ReadonlyMap<string, Buffer>;
/** A `.sops.yaml`, and what it has said of paths below its directory. */
type Rules = RulesFile & {
  readonly directory: string;
  readonly config: SopsConfig;
  readonly policies: Map<string, readonly string[] | undefined>;
};

/** An encrypted file, before anybody tries to open it. */
type Sealed = {
  readonly path: string;
  readonly bytes: Buffer;
  /** The bytes as a digest. */
  readonly blob: string;
  /** Whom it names. */
  readonly names: readonly string[];
};

/** Whether what was found by trying some identities holds whoever else there is. */
type Tried<T> = T & { readonly isSettled: boolean };

/** A reader of a revision: its recipients, and the directories that its Flux applies. */
export type Audience = {
  readonly own: readonly string[];
  readonly directories: readonly string[];
};

/** The encrypted files of a tree or a revision, and by whom they may be asked for. */
type Index = {
  readonly all: readonly Sealed[];
  readonly byName: ReadonlyMap<string, readonly Sealed[]>;
  /** By each directory above them, which ends with a slash; all are below "". */
  readonly byDirectory: ReadonlyMap<string, readonly Sealed[]>;
};

const rulesName = ".sops.yaml";
/** Facts of this many files are remembered: 500 clusters with ten files each, in some revisions. */
const heldMax = 60_000;
/** Of so many states of `.sops.yaml`. */
const rulesMax = 100;

/** Reads what a rotation has to know of encrypted files; the same bytes are looked at once. */
export class RotationFiles {
  readonly #names = new Kept<readonly string[] | undefined>(heldMax);
  readonly #tree = new Kept<Tried<Omit<TreeFile, "policy">>>(heldMax);
  readonly #copies = new Kept<Tried<FileCopy> | undefined>(heldMax);
  readonly #rules = new Kept<Rules>(rulesMax);
  readonly #indexes = new WeakMap<Files, Promise<Index>>();

  /** The encrypted files and the rules at a tip. What is wrong with a file is in it. Throws SopsConfigInvalid. */
  async tree(files: Files, keyring: Keyring): Promise<Tree> {
    const rules = await this.#rulesIn(files);
    const found: TreeFile[] = [];
    for (const sealed of (await this.#index(files)).all) {
      const file = await this.#treeFile(sealed, keyring);
      found.push({ ...file, policy: policyOf(sealed.path, rules) });
    }
    return { files: found, rules };
  }

  /**
   * The encrypted files of a revision that one reader may open: those that name it, and whatever its Flux
   * applies, since a label may be wrong. Files that cannot be read are left out: nobody reads them. Where
   * the tip has the same file, it has been looked at when `tree` was asked first.
   */
  async copies(
    files: Files,
    { own, directories }: Audience,
    keyring: Keyring,
  ): Promise<readonly FileCopy[]> {
    const { byName, byDirectory } = await this.#index(files);
    const named = own.flatMap((name) => byName.get(name) ?? []);
    const applied = directories.flatMap((directory) => byDirectory.get(directory) ?? []);
    const found: FileCopy[] = [];
    for (const sealed of new Set([...named, ...applied])) {
      const copy = await this.#copyOf(sealed, own, keyring);
      if (copy !== undefined) found.push(copy);
    }
    return found;
  }

  /** Takes note of what is known of a file that was just made, so that nobody opens it once more. */
  learn({ path, content, inspected: found }: Content, keyring: Keyring): void {
    // Else it depends on who else there is.
    if (found === undefined || !found.isSettled) return;
    const blob = digestOf(content);
    const names = found.groups.flat();
    const file = treeFileOf({ path, bytes: content, blob, names }, found);
    void this.#names.of(nameKeyOf(path, blob), () => Promise.resolve(names));
    const key = keyOf(file, identitiesNamed(names, keyring));
    void this.#tree.of(key, () => Promise.resolve(file));
  }

  /** Remembers nothing any more. */
  forget(): void {
    for (const kept of [this.#names, this.#tree, this.#copies, this.#rules]) kept.clear();
  }

  /** Who is named is tried first. Others only where somebody's entry did not open for him. */
  async #treeFile(sealed: Sealed, keyring: Keyring): Promise<Omit<TreeFile, "policy">> {
    const named = identitiesNamed(sealed.names, keyring);
    const first = await this.#tree.of(keyOf(sealed, named), () => inspected(sealed, named));
    const all = identitiesAmong(sealed.names, keyring);
    if (first.isSettled || all.length === named.length) return first;
    return this.#tree.of(keyOf(sealed, all), () => inspected(sealed, all));
  }

  /** As `#treeFile`, without a look at the values. */
  async #copyOf(
    sealed: Sealed,
    own: readonly string[],
    keyring: Keyring,
  ): Promise<FileCopy | undefined> {
    const named = identitiesNamed(sealed.names, keyring);
    const key = keyOf(sealed, named);
    const known = await this.#tree.held(key);
    if (known?.isSettled === true) return known;
    const first = await this.#copies.of(key, () => keysOf(sealed, named));
    if (first === undefined || first.isSettled) return first;
    // Who asks is tried even where the file does not name it.
    const all = identitiesAmong([...sealed.names, ...own], keyring);
    return this.#copies.of(keyOf(sealed, all), () => keysOf(sealed, all));
  }

  async #rulesIn(files: Files): Promise<readonly Rules[]> {
    const found: Rules[] = [];
    for (const [path, bytes] of files) {
      if (!isRules(path)) continue;
      const blob = digestOf(bytes);
      const parse = () => Promise.try(parsedRules, path, bytes, blob);
      found.push(await this.#rules.of(`${path} ${blob}`, parse));
    }
    return found;
  }

  #index(files: Files): Promise<Index> {
    const held = this.#indexes.get(files) ?? this.#sealed(files).then(indexOf);
    this.#indexes.set(files, held);
    return held;
  }

  async #sealed(files: Files): Promise<readonly Sealed[]> {
    const found: Sealed[] = [];
    for (const [path, bytes] of files) {
      if (isRules(path)) continue;
      const blob = digestOf(bytes);
      const names = await this.#names.of(nameKeyOf(path, blob), async () => {
        await setImmediate();
        return namesIn(path, bytes);
      });
      if (names !== undefined) found.push({ path, bytes, blob, names });
    }
    return found;
  }
}

function indexOf(all: readonly Sealed[]): Index {
  const byName = new Map<string, Sealed[]>();
  const byDirectory = new Map<string, Sealed[]>();
  const append = (map: Map<string, Sealed[]>, key: string, sealed: Sealed) => {
    const found = map.get(key);
    if (found === undefined) map.set(key, [sealed]);
    else found.push(sealed);
  };
  for (const sealed of all) {
    for (const name of new Set(sealed.names)) append(byName, name, sealed);
    const names = sealed.path.split("/").slice(0, -1);
    append(byDirectory, "", sealed);
    for (const i of names.keys())
      append(byDirectory, `${names.slice(0, i + 1).join("/")}/`, sealed);
  }
  return { all, byName, byDirectory };
}

/** The same bytes are the same to the same identities. */
const keyOf = ({ path, blob }: Pick<Sealed, "path" | "blob">, identities: readonly Identity[]) =>
  [path, blob, ...identities.map(({ recipient }) => recipient)].join(" ");

const nameKeyOf = (path: string, blob: string) => `${formatOf(path)} ${blob}`;

const isRules = (path: string) => path.split("/").at(-1) === rulesName;

const digestOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** The manager's identities, and those of every reader among these names. */
export function identitiesAmong(names: readonly string[], keyring: Keyring): readonly Identity[] {
  return [...new Set([...keyring.manager, ...names.flatMap((name) => keyring.ofReaderWith(name))])];
}

/** The manager's identities, and those that are among these names themselves. */
function identitiesNamed(names: readonly string[], keyring: Keyring): readonly Identity[] {
  const all = names.flatMap((name) =>
    keyring.ofReaderWith(name).filter(({ recipient }) => recipient === name),
  );
  return [...new Set([...keyring.manager, ...all])];
}

/** Whom a file names; nobody when that cannot be read. Undefined when it is not encrypted. */
function namesIn(path: string, bytes: Buffer): readonly string[] | undefined {
  const format = formatOf(path);
  try {
    return recipientsOf(bytes, format).groups.flat();
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    return isEncrypted(bytes, format) ? [] : undefined;
  }
}

async function inspected(
  sealed: Sealed,
  identities: readonly Identity[],
): Promise<Tried<Omit<TreeFile, "policy">>> {
  // A tree has thousands: everybody else has a turn between two of them.
  await setImmediate();
  const { path, bytes, blob, names } = sealed;
  try {
    return treeFileOf(sealed, await inspectFile(bytes, { format: formatOf(path), identities }));
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    const trouble = { code: error.code, message: error.message };
    const nothing = { opens: new Set<string>(), dataKey: "", foreign: [], values: [] };
    return { path, blob, groups: [names], ...nothing, trouble, isSettled: false };
  }
}

function treeFileOf({ path, blob }: Sealed, found: Inspected): Tried<Omit<TreeFile, "policy">> {
  const { foreign, values } = found;
  return { ...copyOf(path, found), blob, foreign, values, trouble: undefined };
}

/** Who opens a file; undefined when it cannot be read. */
async function keysOf(
  { path, bytes }: Sealed,
  identities: readonly Identity[],
): Promise<Tried<FileCopy> | undefined> {
  await setImmediate();
  try {
    const options = { format: formatOf(path), identities, keysOnly: true };
    return copyOf(path, await inspectFile(bytes, options));
  } catch (error) {
    if (error instanceof SopsError) return undefined;
    throw error;
  }
}

function copyOf(path: string, { groups, opens, dataKey, isSettled }: Inspected): Tried<FileCopy> {
  // Several groups need several identities together; then the labels have to do.
  const isSplit = groups.length > 1;
  return { path, groups, opens: new Set(isSplit ? groups.flat() : opens), dataKey, isSettled };
}

function parsedRules(path: string, bytes: Buffer, blob: string): Rules {
  const config = parseSopsConfig(bytes.toString("utf8"), path);
  const names = new Set(config.rules.flatMap(({ groups }) => groups.flat()));
  return { path, blob, names, config, directory: directoryOf(path), policies: new Map() };
}

/** What a `.sops.yaml` is for. */
const directoryOf = (path: string) => path.slice(0, -rulesName.length);

/** The recipients that the nearest `.sops.yaml` above a file wants in it. */
function policyOf(path: string, rules: readonly Rules[]): readonly string[] | undefined {
  const above = rules.filter(({ directory }) => path.startsWith(directory));
  const [nearest] = above.toSorted((a, b) => b.directory.length - a.directory.length);
  if (nearest === undefined) return undefined;
  const { config, directory, policies } = nearest;
  // A rule for each cluster, and files of each: asked anew at each look, that would be most of it.
  if (!policies.has(path)) policies.set(path, ruledBy(config, path.slice(directory.length)));
  return policies.get(path);
}

/** Undefined when no rule is for it. */
function ruledBy(config: SopsConfig, path: string): readonly string[] | undefined {
  try {
    return creationRuleFor(config, path).groups.flat();
  } catch (error) {
    if (isCapitanError(error) && error.code === "SopsConfigInvalid") return undefined;
    throw error;
  }
}

/** Throws RotationUnsafe with what a write was refused for. */
export function refuseUnsafe(refusal: string | undefined): void {
  if (refusal !== undefined) throw new CapitanError("RotationUnsafe", refusal);
}
