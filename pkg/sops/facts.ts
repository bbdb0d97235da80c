import type { Metadata } from "./metadata.ts";
import type { Rule } from "./rules.ts";

/** Who can open a file, read without a key. Labels: only opening proves them. */
export type FileRecipients = {
  readonly groups: readonly (readonly string[])[];
  /** Groups that are needed. */
  readonly threshold: number;
  /** Kinds of recipients that are no age. */
  readonly foreign: readonly string[];
  readonly rule: Rule;
  readonly macOnlyEncrypted: boolean;
  readonly lastModified: string;
  readonly version: string;
};

/** What the metadata of a file say of it. */
export function factsOf(metadata: Metadata): FileRecipients {
  const { groups, threshold, rule, macOnlyEncrypted, lastModified, version } = metadata;
  return {
    groups: groups.map(({ age }) => age.map(({ recipient }) => recipient)),
    threshold,
    foreign: [...new Set(groups.flatMap(({ foreign }) => foreign))],
    rule,
    macOnlyEncrypted,
    lastModified,
    version,
  };
}
