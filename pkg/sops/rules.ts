import { RE2JS } from "re2js";
import { badMetadata, quoted } from "./error.ts";

/** The kinds of rule, as files and `.sops.yaml` name them. A file has one at most. */
export const ruleKinds = [
  "unencrypted_suffix",
  "encrypted_suffix",
  "unencrypted_regex",
  "encrypted_regex",
  "unencrypted_comment_regex",
  "encrypted_comment_regex",
] as const;

export type RuleKind = (typeof ruleKinds)[number];

/** Which values are encrypted. */
export type Rule = { readonly kind: RuleKind; readonly pattern: string };

/** What SOPS does when no rule is named. */
export const defaultRule: Rule = { kind: "unencrypted_suffix", pattern: "_unencrypted" };

const patternLengthMax = 1_000;

/** A rule that can be asked. Keys and comments are remembered: one key stands in many places. */
export type Decider = {
  /** Whether rules that look at comments decide, rather than keys. */
  readonly byComment: boolean;
  /** Whether a match means encrypted. */
  readonly encrypts: boolean;
  readonly matches: (text: string) => boolean;
};

/** Makes a rule ready. Throws SopsFileInvalid for a pattern that is not RE2's: SOPS would let it match nothing. */
export function compileRule({ kind, pattern }: Rule): Decider {
  const test = kind.endsWith("_suffix")
    ? (text: string) => text.endsWith(pattern)
    : regexTest(pattern);
  const known = new Map<string, boolean>();
  const matches = (text: string) => {
    const found = known.get(text) ?? test(text);
    known.set(text, found);
    return found;
  };
  return { byComment: kind.includes("_comment_"), encrypts: !kind.startsWith("un"), matches };
}

/** `^name$` and `^(name|other)$`, as nearly all rules for keys are; `^directory/`, as those for files are. */
const plainPattern = /^\^(?:\((?<several>[\w|]+)\)\$|(?<one>\w+)\$|(?<start>[\w/-]+))$/;

/** Searches with RE2, whose time grows with the text only. Throws SopsFileInvalid. */
export function regexTest(pattern: string): (text: string) => boolean {
  // A pattern is compiled for each file, which takes longer than all that is asked of it.
  const plain = pattern.length <= patternLengthMax ? plainPattern.exec(pattern)?.groups : undefined;
  if (plain !== undefined) {
    const { several, one = several, start = "" } = plain;
    if (one === undefined) return (text) => text.startsWith(start);
    const names = new Set(one.split("|"));
    return (text) => names.has(text);
  }
  const compiled = compile(pattern);
  return (text) => compiled.matcher(text).find();
}

function compile(pattern: string): RE2JS {
  if (pattern.length > patternLengthMax)
    throw badMetadata(`a pattern longer than ${patternLengthMax} characters`);
  try {
    return RE2JS.compile(pattern);
  } catch {
    throw badMetadata(`the pattern ${quoted(pattern)} is not of RE2`);
  }
}
