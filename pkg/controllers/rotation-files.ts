import { createHash } from "node:crypto";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import type { FileCopy, RulesFile, Tree, TreeFile } from "../rotation/index.ts";
import {
  creationRuleFor,
  formatOf,
  inspectFile,
  isEncrypted,
  parseSopsConfig,
  recipientsOf,
  SopsError,
  type Identity,
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
type Config = { readonly directory: string; readonly config: SopsConfig };

const rulesName = ".sops.yaml";
/** Facts of this many files are remembered. */
const heldMax = 20_000;

/** Reads what a rotation has to know of encrypted files; the same bytes are looked at once. */
export class RotationFiles {
  readonly #tree = new Kept<Omit<TreeFile, "policy">>(heldMax, () => 1);
  readonly #copies = new Kept<FileCopy>(heldMax, () => 1);

  /** The encrypted files and the rules at a tip. What is wrong with a file is in it. Throws SopsConfigInvalid. */
  async tree(files: Files, keyring: Keyring): Promise<Tree> {
    const rules = rulesIn(files);
    const found: TreeFile[] = [];
    for (const [path, bytes] of files) {
      if (isRules(path) || !isEncrypted(bytes, formatOf(path))) continue;
      const file = await this.#treeFile(path, bytes, keyring);
      found.push({ ...file, policy: policyOf(path, rules.configs) });
    }
    return { files: found, rules: rules.files };
  }

  #treeFile(path: string, bytes: Buffer, keyring: Keyring): Promise<Omit<TreeFile, "policy">> {
    const blob = digestOf(bytes);
    const identities = identitiesFor(path, bytes, keyring);
    const key = [path, blob, ...identities.map(({ recipient }) => recipient)].join(" ");
    return this.#tree.of(key, () => inspected(path, bytes, { blob, identities }));
  }

  /** The encrypted files of a revision that one reader may open. Files that cannot be read are left out: nobody reads them. */
  async copies(files: Files, own: readonly Identity[]): Promise<readonly FileCopy[]> {
    const recipients = own.map(({ recipient }) => recipient);
    const found: FileCopy[] = [];
    for (const [path, bytes] of files) {
      if (isRules(path) || !isEncrypted(bytes, formatOf(path))) continue;
      const key = [path, digestOf(bytes), ...recipients].join(" ");
      const copy = await this.#copies
        .of(key, async () =>
          copyOf(
            path,
            await inspectFile(bytes, { format: formatOf(path), identities: own, keysOnly: true }),
          ),
        )
        .catch(orNothing);
      if (copy !== undefined) found.push(copy);
    }
    return found;
  }
}

const isRules = (path: string) => path.split("/").at(-1) === rulesName;

const digestOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

function orNothing(error: unknown): undefined {
  if (!(error instanceof SopsError)) throw error;
}

/** The manager's identities, and those of every reader whom the file names. */
export function identitiesFor(path: string, bytes: Buffer, keyring: Keyring): readonly Identity[] {
  const named = namesIn(path, bytes);
  return [...new Set([...keyring.manager, ...named.flatMap((name) => keyring.ofReaderWith(name))])];
}

function namesIn(path: string, bytes: Buffer): readonly string[] {
  try {
    return recipientsOf(bytes, formatOf(path)).groups.flat();
  } catch (error) {
    if (error instanceof SopsError) return [];
    throw error;
  }
}

async function inspected(
  path: string,
  bytes: Buffer,
  { blob, identities }: { readonly blob: string; readonly identities: readonly Identity[] },
): Promise<Omit<TreeFile, "policy">> {
  const format = formatOf(path);
  try {
    const found = await inspectFile(bytes, { format, identities });
    const { foreign, values } = found;
    return { ...copyOf(path, found), blob, foreign, values, trouble: undefined };
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    const trouble = { code: error.code, message: error.message };
    const groups = [namesIn(path, bytes)];
    return { path, blob, groups, opens: new Set(), dataKey: "", foreign: [], values: [], trouble };
  }
}

function copyOf(
  path: string,
  {
    groups,
    opens,
    dataKey,
  }: {
    readonly groups: FileCopy["groups"];
    readonly opens: readonly string[];
    readonly dataKey: string;
  },
): FileCopy {
  // Several groups need several identities together; then the labels have to do.
  const isSplit = groups.length > 1;
  return { path, groups, opens: new Set(isSplit ? groups.flat() : opens), dataKey };
}

function rulesIn(files: Files): {
  readonly files: readonly RulesFile[];
  readonly configs: readonly Config[];
} {
  const found = [...files].filter(([path]) => isRules(path));
  const configs = found.map(([path, bytes]) => {
    const config = parseSopsConfig(bytes.toString("utf8"), path);
    const names = new Set(config.rules.flatMap(({ groups }) => groups.flat()));
    const directory = path.slice(0, -rulesName.length);
    return { path, blob: digestOf(bytes), names, directory, config };
  });
  return { files: configs, configs };
}

/** The recipients that the nearest `.sops.yaml` above a file wants in it. */
function policyOf(path: string, configs: readonly Config[]): readonly string[] | undefined {
  const above = configs.filter(({ directory }) => path.startsWith(directory));
  const [nearest] = above.toSorted((a, b) => b.directory.length - a.directory.length);
  if (nearest === undefined) return undefined;
  try {
    return creationRuleFor(nearest.config, path.slice(nearest.directory.length)).groups.flat();
  } catch (error) {
    if (isCapitanError(error) && error.code === "SopsConfigInvalid") return undefined;
    throw error;
  }
}

/** All of an artifact or a commit, as bytes by path. */
export const bytesByPath = (files: ReadonlyMap<string, { readonly content: Uint8Array }>): Files =>
  new Map(Array.from(files, ([path, { content }]) => [path, Buffer.from(content)] as const));

/** Throws RotationUnsafe with what a write was refused for. */
export function refuseUnsafe(refusal: string | undefined): void {
  if (refusal !== undefined) throw new CapitanError("RotationUnsafe", refusal);
}
