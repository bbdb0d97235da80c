import { sha256Hex } from "../json/index.ts";
import { checkSealed, formatOf, SopsError } from "../sops/index.ts";
import { isCiphertext, type ChangedValue } from "./change.ts";

/** What a file must hold: a value by the digest of its ciphertext. */
export type WantedValue = Omit<ChangedValue, "file">;

/** Which state of a value a file holds: the wanted one, one that came after it, or one from before. */
export type HeldValue = "wanted" | "later" | "older";

/** What one state of a file tells, read without a key. */
export type HeldFile = {
  readonly value: HeldValue;
  /** The Secret that the file is; undefined when it is none, or does not say which. */
  readonly secret: { readonly namespace: string; readonly name: string } | undefined;
  /** Short digest of the file: tells one state of the Secret from another. */
  readonly mark: string;
};

/**
 * What a state of a file tells of a value. Who edits something else in the file leaves the ciphertext as
 * it is. Where the ciphertext is neither the wanted one nor the one that it replaced, the value was changed, or
 * the file got another data key: then SOPS' own date says whether that was before or after.
 */
export function heldIn(bytes: Buffer, wanted: WantedValue): HeldFile {
  const mark = sha256Hex(bytes.toString("latin1")).slice(0, 16);
  try {
    const { textAt, lastModified } = checkSealed(bytes, formatOf(wanted.path));
    const value = stateOf(textAt(wanted.where), lastModified, wanted);
    return { value, secret: secretIn(textAt), mark };
  } catch (error) {
    // What nobody can read came from somewhere else.
    if (error instanceof SopsError) return { value: "older", secret: undefined, mark };
    throw error;
  }
}

function stateOf(
  text: string | undefined,
  lastModified: string,
  { value, replaces, modified }: WantedValue,
): HeldValue {
  const digest = text === undefined ? undefined : sha256Hex(text);
  if (digest === value) return "wanted";
  if (digest === replaces) return "older";
  return Date.parse(lastModified) >= Date.parse(modified) ? "later" : "older";
}

function secretIn(textAt: ReturnType<typeof checkSealed>["textAt"]): HeldFile["secret"] {
  if (textAt(["kind"]) !== "Secret") return undefined;
  const [namespace, name] = ["namespace", "name"].map((key) => textAt(["metadata", key]));
  if (namespace === undefined || name === undefined) return undefined;
  return isCiphertext(namespace) || isCiphertext(name) ? undefined : { namespace, name };
}
