/** Words that some reader of YAML takes for a truth value, null or the merge key. */
const words = /^(?:y|n|yes|no|on|off|true|false|null|~|<<|=)?$/i;

/** Numbers of YAML 1.1 and 1.2 and of Go's parser: decimal, octal, hexadecimal, binary, base 60, dates. */
const numbers = [
  /^[-+]?(?:0x[0-9a-f]*|0o?[0-7]*|0b[01]*|[0-9]+)$/i,
  /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:e[-+]?[0-9]*)?$/i,
  /^[-+]?\.?(?:e[-+]?[0-9]+)?$/i,
  /^[-+]?0x[0-9a-f.]+p[-+]?[0-9]+$/i,
  /^[-+]?\.(?:inf|nan)$/i,
  /^[-+]?[0-9]+(?::[0-9]{1,2})+(?:\.[0-9]*)?$/,
  /^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[t\s].*)?$/i,
];

/** Whether a scalar without quotes would be read as something else than a string by any YAML reader. */
export function readsAsOther(text: string): boolean {
  if (words.test(text)) return true;
  if (!/^[-+.0-9e]/i.test(text)) return false;
  const digits = text.replaceAll("_", "");
  return numbers.some((pattern) => pattern.test(digits));
}

/** What YAML readers change or refuse when it is not escaped. */
const control = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufeff\ufffe\uffff]/u;

/** Whether a string may be a part of a line of a block scalar. */
export function fitsBlock(text: string): boolean {
  return !control.test(text);
}

/** Whether a string may stand between quotes without being escaped. */
export function fitsInQuotes(text: string): boolean {
  return !control.test(text) && !/["'\\]/.test(text);
}

/**
 * Whether a string without quotes is one scalar or a part of one wherever it stands, in flow style
 * and as a key too; in flow style, Go's reader stops at a `?`. What the scalar is read as is another question: `readsAsOther`.
 */
export function fitsPlain(text: string): boolean {
  if (control.test(text) || !/^[\p{L}\p{N}_./]/u.test(text)) return false;
  return !/[,?[\]{}]|:(?:\s|$)|\s#|\s$|^\.\.\.|[^\S ]/.test(text);
}

/** Whether a string can be written without quotes and is read as this very string. */
export function isPlain(text: string): boolean {
  return fitsPlain(text) && !readsAsOther(text);
}
