import { createHash } from "node:crypto";
import { sealValue } from "./cipher.ts";
import { quoted, SopsError } from "./error.ts";
import { changeMetadata, refuseForeign, type AgeEntry, type Metadata } from "./metadata.ts";
import { inspectOpened, type Inspected } from "./inspect.ts";
import type { Identity } from "./identity.ts";
import { openFile, openSomehow, type Opened, type OpenOptions } from "./open.ts";
import { parseGroups, timeText, wrapGroups, type Chance } from "./seal.ts";
import { sameKey } from "./shamir.ts";
import { editOf, splice, type Edit } from "./store.ts";

/** Who is to be added and taken away; the order of those who stay is kept. */
export type RecipientChange = {
  readonly add?: readonly string[] | undefined;
  readonly remove?: readonly string[] | undefined;
};

export type RotateOptions = OpenOptions & RecipientChange;

/** A file that was written again, and who can open it now. */
export type Rewritten = { readonly file: Buffer; readonly groups: readonly (readonly string[])[] };

/**
 * Gives a file a new data key: every value is encrypted anew, recipients change in the first group.
 * Only encrypted values and the metadata change in the text. Throws as `decryptFile`, and
 * SopsFileInvalid when recipients of other kinds would need their services, RecipientInvalid when
 * nobody would be left.
 */
export async function rotateFile(
  bytes: Buffer,
  options: RotateOptions,
  chance: Chance,
): Promise<Rewritten> {
  const opened = await openFile(bytes, options);
  const groups = changedGroups(opened.metadata, options);
  return { file: await withNewKey(opened, groups, chance), groups };
}

/** The file under a new data key, for these recipients. */
async function withNewKey(
  opened: Opened,
  groups: readonly (readonly string[])[],
  chance: Chance,
): Promise<Buffer> {
  refuseForeign(opened.metadata, "make a new data key for them");
  const recipients = parseGroups(groups);
  const dataKey = chance.random(32);
  const lastModified = timeText(chance.now());
  const metadata = changeMetadata(opened.metadataMap, {
    groups: await wrapGroups(dataKey, recipients, opened.metadata.threshold, chance),
    lastModified,
    // The values stay, so the MAC does: only its envelope is new.
    mac: sealValue(opened.mac, dataKey, lastModified, chance.random),
  });
  const edits = resealEdits(opened, dataKey, chance);
  dataKey.fill(0);
  return splice(opened.source, [...edits, ...opened.source.place(metadata)]);
}

function changedGroups({ groups }: Metadata, { add = [], remove = [] }: RecipientChange) {
  const gone = new Set(remove);
  return groups.map(({ age }, i) => {
    const kept = age.map(({ recipient }) => recipient).filter((recipient) => !gone.has(recipient));
    return [...new Set(i === 0 ? [...kept, ...add] : kept)];
  });
}

function resealEdits(
  { source, entries }: Opened,
  dataKey: Buffer,
  { random }: Chance,
): readonly Edit[] {
  return entries.flatMap(({ node, visit, value, sealed }) => {
    if (!sealed) return [];
    const plain = value.type === "bytes" ? ({ ...value, type: "str" } as const) : value;
    const edit = editOf(source, node, sealValue(plain, dataKey, visit.aad, random));
    if (edit !== undefined) return [edit];
    const where = quoted(visit.aad);
    throw new SopsError(
      "SopsFileInvalid",
      2,
      `the value under ${where} cannot be replaced where it stands`,
    );
  });
}

export type UpdateOptions = OpenOptions & {
  /** The recipients that the file shall have, by key group. */
  readonly groups: readonly (readonly string[])[];
};

/**
 * Gives a file other recipients under the same data key, and verifies it first, which sops does not.
 * Who stays keeps the entry as it is; who is new comes first, so that concurrent changes merge. The
 * order and nothing else is no change. Throws as `rotateFile`. Whoever is removed and has an old copy
 * can read future edits too: for that, rotate.
 */
export async function updateKeys(
  bytes: Buffer,
  options: UpdateOptions,
  chance: Chance,
): Promise<Rewritten & { readonly changed: boolean }> {
  const opened = await openFile(bytes, options);
  const { metadata, source, metadataMap } = opened;
  const recipients = parseGroups(options.groups);
  if (options.groups.length !== metadata.groups.length)
    throw new SopsError(
      "SopsFileInvalid",
      1,
      "another number of key groups needs a new file: decrypt and encrypt",
    );
  const isSame = metadata.groups.every(({ age }, i) =>
    sameNames(
      age.map(({ recipient }) => recipient),
      options.groups[i] ?? [],
    ),
  );
  const isSound = opened.findings.every((finding) => !finding.startsWith("the entry of"));
  if (isSame && isSound) return { file: bytes, changed: false, groups: options.groups };
  const keeps = isSound && metadata.groups.length === 1;
  const kept = keeps ? keptEntries(metadata, options.groups) : new Map<string, AgeEntry>();
  const groups = await withEntries(opened, { recipients, kept }, chance);
  const file = splice(source, source.place(changeMetadata(metadataMap, { groups })));
  return {
    file,
    changed: true,
    groups: groups.map((group) => group.map((entry) => entry.recipient)),
  };
}

/** Entries for these recipients: those that are kept, behind new ones for all others. */
async function withEntries(
  { metadata, dataKey }: Opened,
  {
    recipients,
    kept,
  }: {
    readonly recipients: ReturnType<typeof parseGroups>;
    readonly kept: ReadonlyMap<string, AgeEntry>;
  },
  chance: Chance,
): Promise<readonly (readonly AgeEntry[])[]> {
  refuseForeign(metadata, "wrap the data key for them");
  const missing = recipients.map((group) => group.filter(({ text }) => !kept.has(text)));
  const fresh = await wrapGroups(dataKey, missing, metadata.threshold, chance);
  return fresh.map((entries) => [...entries, ...kept.values()]);
}

export type RekeyOptions = OpenOptions & {
  /** The recipients that the file shall have, from those that it has, by key group. */
  readonly groups: (now: readonly (readonly string[])[]) => readonly (readonly string[])[];
  /** Who gets a new entry, even where one is that names them. */
  readonly fresh: ReadonlySet<string>;
  readonly newDataKey: boolean;
  /** Whose identities are tried on what comes out, besides those that open the file now. */
  readonly witnesses?: readonly Identity[];
};

/**
 * Gives a file other recipients, under the same data key or a new one, and opens what came out: its
 * values must be the ones of before. Throws as `rotateFile`, and SopsTampered when they are not.
 */
export async function rekeyFile(
  bytes: Buffer,
  { format, identities, witnesses = [], ...options }: RekeyOptions,
  chance: Chance,
): Promise<Rewritten & { readonly inspected: Inspected }> {
  const { opened, openedWith } = await openSomehow(bytes, { format, identities });
  const now = opened.metadata.groups.map(({ age }) => age.map(({ recipient }) => recipient));
  const groups = options.groups(now);
  const file = options.newDataKey
    ? await withNewKey(opened, groups, chance)
    : await withOtherEntries(opened, groups, options.fresh, chance);
  const after = await openFile(file, { format, identities: openedWith });
  if (!sameKey(contentOf(opened), contentOf(after)))
    throw new SopsError("SopsTampered", 51, "its values would change");
  const inspected = await inspectOpened(after, [...new Set([...identities, ...witnesses])]);
  return { file, groups, inspected };
}

async function withOtherEntries(
  opened: Opened,
  groups: readonly (readonly string[])[],
  anew: ReadonlySet<string>,
  chance: Chance,
): Promise<Buffer> {
  const { metadata, source, metadataMap } = opened;
  const all =
    metadata.groups.length === 1 ? keptEntries(metadata, groups) : new Map<string, AgeEntry>();
  const kept = new Map([...all].filter(([recipient]) => !anew.has(recipient)));
  const entries = await withEntries(opened, { recipients: parseGroups(groups), kept }, chance);
  return splice(source, source.place(changeMetadata(metadataMap, { groups: entries })));
}

/** A digest of all values at their places. It never leaves this file: it says too much about short values. */
function contentOf({ entries }: Opened): Buffer {
  const hash = createHash("sha256");
  for (const { visit, value } of entries) {
    hash.update(`${visit.aad.length} ${visit.aad} ${value.type} ${value.bytes.length} `);
    hash.update(value.bytes);
  }
  return hash.digest();
}

const sameNames = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && new Set(a).symmetricDifference(new Set(b)).size === 0;

/** In the order of the file; of two entries for one recipient the first. */
function keptEntries({ groups }: Metadata, wanted: readonly (readonly string[])[]) {
  const names = new Set(wanted.flat());
  const kept = new Map<string, AgeEntry>();
  for (const entry of groups.flatMap(({ age }) => age))
    if (names.has(entry.recipient) && !kept.has(entry.recipient)) kept.set(entry.recipient, entry);
  return kept;
}
