import { CapitanError, isCapitanError } from "../errors/index.ts";
import {
  encryptFile,
  formatOf,
  type Chance,
  type Identity,
  type Inspected,
} from "../sops/index.ts";
import type { CanaryEdit, Commit } from "./facts.ts";
import { rewriteFile } from "./rewrite.ts";
import { editRules } from "./rules.ts";

/** What the canary of a cluster is called there, and which of its keys holds the word. */
export const canaryName = {
  namespace: "flux-system",
  name: "capitan-canary",
  key: "word",
} as const;

/** A file of a commit: all of its bytes, and of one that was rewritten what trying says of it. */
export type Content = {
  readonly path: string;
  readonly content: Buffer;
  readonly inspected?: Inspected;
};

/**
 * The files of a commit, from those at the tip. Everything is made before anything is returned, so that
 * a commit is whole. Throws as `rewriteFile` and `editRules`, saying which file it was.
 */
export async function contentsOf(
  { files, rules, canaries }: Commit,
  tip: {
    readonly files: ReadonlyMap<string, Buffer>;
    /** The manager's, which open every file. */
    readonly openers: readonly Identity[];
    /** Those of the readers whom a file names. */
    readonly othersFor: (path: string) => readonly Identity[];
    /** Comes between two files: there may be thousands, and others have something to do too. */
    readonly pause?: () => Promise<void>;
  },
  chance: Chance,
): Promise<readonly Content[]> {
  const contents: Content[] = [];
  for (const edit of files) {
    await tip.pause?.();
    const { openers } = tip;
    const others = tip.othersFor(edit.path);
    const options = { format: formatOf(edit.path), openers, others, edit };
    const { file, inspected } = await onFile(edit.path, () =>
      rewriteFile(existing(tip.files, edit.path), options, chance),
    );
    contents.push({ path: edit.path, content: file, inspected });
  }
  for (const edit of rules) {
    const text = existing(tip.files, edit.path).toString("utf8");
    contents.push({ path: edit.path, content: Buffer.from(editRules(text, edit)) });
  }
  for (const edit of canaries)
    contents.push({ path: edit.path, content: await canaryFile(edit, chance) });
  return contents;
}

function existing(files: ReadonlyMap<string, Buffer>, path: string): Buffer {
  const found = files.get(path);
  if (found === undefined) throw new CapitanError("RotationUnsafe", `${path} is gone`);
  return found;
}

async function onFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCapitanError(error) && error.code !== "RotationUnsafe") throw error.within(path);
    throw error;
  }
}

/** A Secret with a word in it that nobody knows who has not opened it. */
function canaryFile({ recipient }: CanaryEdit, chance: Chance): Promise<Buffer> {
  const { namespace, name, key } = canaryName;
  const word = chance.random(16).toString("hex");
  const manifest = `apiVersion: v1
kind: Secret
metadata:
    name: ${name}
    namespace: ${namespace}
stringData:
    ${key}: "${word}"
`;
  const rule = { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const;
  const options = { format: "yaml", groups: [[recipient]], rule } as const;
  return encryptFile(Buffer.from(manifest), options, chance);
}
