import { parseEnvelope } from "./cipher.ts";
import { quoted, SopsError } from "./error.ts";
import { factsOf, type FileRecipients } from "./facts.ts";
import { parseMetadata } from "./metadata.ts";
import { requireMetadata } from "./open.ts";
import { compileRule } from "./rules.ts";
import { readSource, type Format } from "./store.ts";
import { valueOf, type MapNode, type Node } from "./tree.ts";
import { walk, type Visit } from "./walk.ts";

/** What an encrypted file tells without a key. */
export type Sealed = FileRecipients & {
  /** What stands at a path of the first document: a ciphertext, or what is in cleartext. Undefined for what is no scalar. */
  readonly textAt: (path: readonly (string | number)[]) => string | undefined;
};

/**
 * Checks what can be checked without a key: the metadata, that there is a MAC, and that every value
 * that the file's own rule wants encrypted is one. A forged value passes: only a key finds it. Throws
 * SopsFileInvalid (1), SopsTampered (25, 51).
 */
export function checkSealed(bytes: Buffer, format: Format): Sealed {
  const source = readSource(bytes, format);
  const metadata = parseMetadata(requireMetadata(source));
  if (parseEnvelope(metadata.mac) === undefined)
    throw new SopsError("SopsTampered", 51, "the file has no MAC");
  const rule = compileRule(metadata.rule);
  for (const document of source.documents)
    walk(document, rule, (node, visit) => {
      if (node.kind === "leaf" && visit.encrypted) requireSealed(node.value.bytes, visit);
      return node;
    });
  const [first] = source.documents;
  return { ...factsOf(metadata), textAt: (path) => textAt(first, path) };
}

function textAt(root: MapNode | undefined, path: readonly (string | number)[]): string | undefined {
  let node: Node | undefined = root;
  for (const step of path) node = node === undefined ? undefined : childOf(node, step);
  if (node?.kind !== "leaf" || node.value.type === "null") return undefined;
  return node.value.bytes.toString();
}

function childOf(node: Node, step: string | number): Node | undefined {
  if (typeof step === "string") return node.kind === "map" ? valueOf(node, step) : undefined;
  if (node.kind !== "list") return undefined;
  return node.items.filter((item) => item.kind !== "comment")[step];
}

/** As sops leaves them: an empty text is never encrypted. */
function requireSealed(bytes: Buffer, { aad }: Visit): void {
  if (bytes.length === 0 || parseEnvelope(bytes.toString()) !== undefined) return;
  const why = "is in cleartext where the rule wants it encrypted";
  throw new SopsError("SopsTampered", 25, `the value under ${quoted(aad)} ${why}`);
}
