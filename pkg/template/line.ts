/** One scalar of a line: where, and whether it is inside quotes. */
export type Scalar = { readonly start: number; readonly end: number; readonly isQuoted: boolean };

/** What stands before a scalar: blanks, `- `, `? `, `: `, a colon right after what was quoted, flow style's signs, tags, anchors. */
const before = /(?:\s|[-?:](?=\s|$)|:(?<=["'\]}]:)|[,[\]{}]|[&!][^\s,[\]{}]*(?=\s))+/y;
const quoted = /"(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?/y;
/** A comment is no scalar; it is taken for one that is never anything but text. */
const comment = /#.*/y;
/** Up to what ends a scalar somewhere: a comma or bracket (only in flow style, but better too early). */
const plain =
  /(?:[^\s,[\]{}:]|:(?!\s|$))(?:[^\s,[\]{}:]|:(?!\s|$)|[^\S\n]+(?=[^\s#,[\]{}:]|:(?!\s|$)))*/y;

/**
 * The scalars of one line of YAML from left to right, seen by this line alone: in a text of several
 * lines some are taken for shorter than they are, none for longer.
 */
export function scalarsOf(line: string): readonly Scalar[] {
  const scalars: Scalar[] = [];
  let at = 0;
  while (at < line.length) {
    at += lengthAt(before, line, at);
    const start = at;
    const inQuotes = lengthAt(quoted, line, at);
    at += inQuotes || lengthAt(comment, line, at) || lengthAt(plain, line, at);
    if (at > start) scalars.push({ start, end: at, isQuoted: inQuotes > 0 });
    else at += 1;
  }
  return scalars;
}

function lengthAt(pattern: RegExp, line: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(line)?.[0].length ?? 0;
}
