import { sealValue } from "./cipher.ts";
import { SopsError } from "./error.ts";
import { newMetadata } from "./metadata.ts";
import { compileRule, defaultRule, type Rule } from "./rules.ts";
import {
  freshSealer,
  parseGroups,
  sealDocuments,
  timeText,
  wrapGroups,
  type Chance,
} from "./seal.ts";
import { readPlain, writeEncrypted, type Format, type Layout } from "./store.ts";

/** The version of SOPS whose files we write. */
const sopsVersion = "3.13.3";

export type EncryptOptions = {
  readonly format: Format;
  /** One group, or several of which `threshold` are needed: by default all. */
  readonly groups: readonly (readonly string[])[];
  readonly threshold?: number | undefined;
  readonly rule?: Rule | undefined;
  readonly macOnlyEncrypted?: boolean | undefined;
  readonly layout?: Layout | undefined;
};

/**
 * Encrypts a plain file as `sops encrypt` does. Throws AlreadyEncrypted (203), SopsFileInvalid (2, 23,
 * 92), RecipientInvalid (1, 111), SopsFileTooLarge.
 */
export async function encryptFile(
  bytes: Buffer,
  options: EncryptOptions,
  chance: Chance,
): Promise<Buffer> {
  const { format, macOnlyEncrypted = false, rule = defaultRule, layout = {} } = options;
  const groups = parseGroups(options.groups);
  const threshold = thresholdOf(options);
  const plain = readPlain(bytes, format);
  const dataKey = chance.random(32);
  const seal = freshSealer(dataKey, chance);
  const { documents, mac } = sealDocuments(plain, compileRule(rule), seal, macOnlyEncrypted);
  const lastModified = timeText(chance.now());
  const metadata = newMetadata({
    groups: await wrapGroups(dataKey, groups, threshold, chance),
    threshold,
    rule: format === "binary" ? undefined : rule,
    macOnlyEncrypted,
    lastModified,
    mac: sealValue({ type: "str", bytes: Buffer.from(mac) }, dataKey, lastModified, chance.random),
    version: sopsVersion,
  });
  dataKey.fill(0);
  return writeEncrypted(documents, metadata, format, layout);
}

function thresholdOf({ groups, threshold }: EncryptOptions): number {
  if (groups.length < 2) return 1;
  const wanted = threshold ?? groups.length;
  if (wanted >= 2 && wanted <= groups.length) return wanted;
  throw new SopsError(
    "SopsConfigInvalid",
    1,
    `the threshold ${wanted} does not fit ${groups.length} key groups`,
  );
}
