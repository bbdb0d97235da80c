import { isUtf8 } from "node:buffer";
import type { Value } from "./tree.ts";
import { resolvePlain } from "./yaml-scalar.ts";

/** A scalar as it is written. A literal's text is still without indentation. */
export type ScalarText = {
  readonly text: string;
  readonly style: "plain" | "single" | "double" | "literal";
  readonly tag?: string;
};

const oldBooleans = new Set("y Y yes Yes YES on On ON n N no No NO off Off OFF".split(" "));
const base60 = /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/;

/** A string in the style that go-yaml v3 chooses; bytes that are no UTF-8 as `!!binary`. */
export function scalarText({ bytes }: Value): ScalarText {
  if (!isUtf8(bytes)) return binaryText(bytes);
  const text = bytes.toString();
  const tag = text === "<<" ? { tag: "!!merge" } : {};
  const facts = analyse(text);
  if (text.includes("\n"))
    return facts.isLiteral ? { text, style: "literal" } : { text: doubled(text), style: "double" };
  if (needsQuotes(text)) return { text: doubled(text), style: "double" };
  if (facts.isPlain) return { text, style: "plain", ...tag };
  return facts.isSingle
    ? { text: `'${text.replaceAll("'", "''")}'`, style: "single" }
    : { text: doubled(text), style: "double" };
}

/** Lines of 70 characters, as go-yaml breaks them. */
function binaryText(bytes: Buffer): ScalarText {
  const base64 = bytes.toString("base64");
  const rows = base64.match(/.{1,70}/g) ?? [];
  const tag = "!!binary";
  if (Math.floor(base64.length / 70) + 1 > 1)
    return { text: `${rows.join("\n")}\n`, style: "literal", tag };
  return { text: base64, style: "plain", tag };
}

/** Whether a plain text would be read as something else than a string, here or by YAML 1.1. */
function needsQuotes(text: string): boolean {
  if (oldBooleans.has(text) || base60.test(text)) return true;
  try {
    return resolvePlain(text).type !== "str";
  } catch {
    // An integer that SOPS cannot hold is still no string.
    return true;
  }
}

const isBreak = (c: string) => "\n\r\u0085\u2028\u2029".includes(c);

/** A blank at an end, or a line break anywhere. */
const bounded = /^ | $|[\n\r\u0085\u2028\u2029]/;

type Facts = { readonly isPlain: boolean; readonly isSingle: boolean; readonly isLiteral: boolean };

/** Which styles can hold a text, by libyaml's rules. */
function analyse(text: string): Facts {
  if (text === "") return { isPlain: true, isSingle: true, isLiteral: false };
  const special = isSpecial(text);
  const breakSpace = /[\n\r\u0085\u2028\u2029] /.test(text);
  const spaceBreak = / [\n\r\u0085\u2028\u2029]/.test(text);
  const isSingle = ![breakSpace, spaceBreak, special, text.includes("\t")].includes(true);
  return {
    isPlain: isSingle && !bounded.test(text) && !hasIndicators(text),
    isSingle,
    isLiteral: !text.endsWith(" ") && !spaceBreak && !special,
  };
}

/** What would end or change a plain scalar in block style. */
function hasIndicators(text: string): boolean {
  return /^(?:---|\.\.\.|[#,[\]{}&*!|>'"%@`]|[-?:](?:[ \t]|$))|:(?:[ \t]|$)|[ \t]#/.test(text);
}

/** go-yaml's idea of what is printable; it has none for characters beyond U+FFFF in plain text. */
const printable = /[\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]/;

function isSpecial(text: string): boolean {
  for (const c of text) if (c !== "\t" && !(c.length === 1 && printable.test(c))) return true;
  return false;
}

const escapes: Readonly<Record<string, string>> = {
  "\0": "\\0",
  "\u0007": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\u001b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\u0085": "\\N",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function doubled(text: string): string {
  let out = '"';
  for (const c of text) {
    const isPlain = c.length === 1 && printable.test(c) && !isBreak(c) && c !== '"' && c !== "\\";
    out += isPlain ? c : (escapes[c] ?? hexEscape(c));
  }
  return `${out}"`;
}

function hexEscape(c: string): string {
  const code = c.codePointAt(0) ?? 0;
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
