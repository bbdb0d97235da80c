import { scalarsOf } from "./line.ts";

/**
 * Whether a line belongs to a block scalar (`|`, `>`) that one of the lines before opens: then it is text
 * whatever it says, as long as it stays one line. `before` ends with a line break or is empty.
 */
export function isInBlockScalar(before: string, line: string): boolean {
  let column = indentOf(line);
  for (const earlier of before.split("\n").reverse()) {
    if (column === 0) return false;
    const indent = indentOf(earlier);
    // A line that is empty, or as deep, is a neighbour: it encloses nothing.
    if (earlier.trim() === "" || indent >= column) continue;
    const edge = openedBy(earlier);
    if (edge !== undefined && edge < column) return true;
    column = indent;
  }
  return false;
}

/** The column that the text of a block scalar is beyond, when the line opens one. */
function openedBy(line: string): number | undefined {
  const opener = scalarsOf(line).at(-1);
  const isOpener =
    opener !== undefined && /^[|>][-+0-9]*$/.test(line.slice(opener.start, opener.end));
  return isOpener ? edgeOf(line, opener.start) : undefined;
}

/**
 * The column that the following lines must be beyond to belong to the value that begins at `start`:
 * that of its key in `- key: `, that of the mark in `- `.
 */
export function edgeOf(line: string, start: number): number {
  const marks = /^(?: *- +)*(?: *)/.exec(line)?.[0] ?? "";
  return marks.length === start ? Math.max(marks.lastIndexOf("-"), 0) : marks.length;
}

const indentOf = (line: string) => /^ */.exec(line)?.[0].length ?? 0;
