import { CapitanError } from "../errors/index.ts";
import { sha256Hex } from "../json/index.ts";
import {
  checkSealed,
  formatOf,
  isEncrypted,
  setValue,
  SopsError,
  type Chance,
  type Identity,
} from "../sops/index.ts";
import { parseValuePath, type ValuePath } from "./path.ts";

/** An encrypted file, and the key of the value in it that is to become another. */
export type ValueToChange = {
  readonly path: string;
  readonly bytes: Buffer;
  /** A key below data or stringData, or a path as `parseValuePath` reads it. */
  readonly key: string;
};

/** A value after the change, known by its ciphertext only. */
export type ChangedValue = {
  readonly path: string;
  readonly where: ValuePath;
  /** The whole file. */
  readonly file: Buffer;
  /** Digest of the value's ciphertext, and of the one that it has taken the place of. */
  readonly value: string;
  readonly replaces: string;
  /** When SOPS says that the file was written last. */
  readonly modified: string;
};

/**
 * Puts another value in the place of one that is there, under the same data key: all else keeps its
 * bytes. The file is written later than any state of it before, by its own date, whatever the clock says.
 * The same value again changes nothing. Throws SopsFileInvalid for a file that is not encrypted, that has no
 * such value or has it in cleartext, and what `setValue` throws; each with the file's name.
 */
export async function changeValue(
  { path, bytes, key }: ValueToChange,
  { text, identities }: { readonly text: string; readonly identities: readonly Identity[] },
  chance: Chance,
): Promise<ChangedValue> {
  try {
    const before = sealedValue(bytes, { path, key });
    const { where } = before;
    const now = laterThan(before.modified, chance.now());
    const options = { format: formatOf(path), identities, path: where };
    const json = JSON.stringify(plaintextAt(where, text));
    const { file } = await setValue(bytes, { ...options, json }, { ...chance, now: () => now });
    const after = sealedValue(file, { path, key });
    const [value, replaces] = [after.value, before.value];
    return { path, where, file, value, replaces, modified: after.modified };
  } catch (error) {
    throw error instanceof CapitanError ? error.within(path) : error;
  }
}

/** A value as it stands encrypted in a file: where, its digest, and when the file was written. */
type SealedValue = Pick<ChangedValue, "where" | "value" | "modified">;

function sealedValue(
  bytes: Buffer,
  { path, key }: Pick<ValueToChange, "path" | "key">,
): SealedValue {
  const format = formatOf(path);
  if (!isEncrypted(bytes, format))
    throw refused("it is not encrypted; encrypt it: capitan secrets encrypt -i FILE");
  const { textAt, lastModified: modified } = checkSealed(bytes, format);
  const where = placeOf(key, textAt);
  const text = textAt(where) ?? "";
  if (!isCiphertext(text))
    throw refused(`the value under ${key} is in cleartext: the rule of the file leaves it out`);
  return { where, value: sha256Hex(text), modified };
}

type TextAt = ReturnType<typeof checkSealed>["textAt"];

function placeOf(key: string, textAt: TextAt): ValuePath {
  const places = key.startsWith("[")
    ? [parseValuePath(key)]
    : [["stringData", key], ["data", key], [key]];
  const [found, other] = places.filter((place) => textAt(place) !== undefined);
  if (found === undefined) throw refused(`it has no value under ${key}`);
  if (other === undefined) return found;
  throw refused(`it has ${key} in more than one place; write it as ["stringData"]["${key}"]`);
}

const refused = (message: string) => new SopsError("SopsFileInvalid", 1, message);

/** Whether a text is a value that SOPS has encrypted. */
export const isCiphertext = (text: string): boolean => text.startsWith("ENC[AES256_GCM,");

/** Values below `data` of a Secret are in base64. */
const plaintextAt = ([first]: ValuePath, text: string): string =>
  first === "data" ? Buffer.from(text).toString("base64") : text;

const secondMs = 1_000;

function laterThan(modified: string, now: Date): Date {
  const beforeMs = Date.parse(modified);
  const isAhead = beforeMs >= Math.floor(now.getTime() / secondMs) * secondMs;
  return isAhead ? new Date(beforeMs + secondMs) : now;
}
