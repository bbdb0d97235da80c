import type { CST } from "yaml";
import type { Comment, Node, Pair } from "./tree.ts";

type Item = Pair | Comment | Node;

/** An item of a container, and the container's own item in the one around it. */
export type Place = {
  readonly items: Item[];
  readonly index: number;
  /** The column of a block container; undefined for one in braces or brackets. */
  readonly indent: number | undefined;
  readonly parent: Place | undefined;
};

/** Something of a text that is no comment. `opens` when its content is still to come, as behind a key. */
export type Mark = {
  readonly start: number;
  readonly end: number;
  readonly place: Place;
  readonly opens: boolean;
  /** Where a comment on the same line goes, when not in front of the item. */
  within?: Item[];
  /** The map that is this item of a list: comments above it, with an empty line between, are the map's. */
  inner?: Item[];
};

type Found = { readonly offset: number; readonly text: string };
type Line = Found & { readonly line: number; readonly column: number };
type Insertion = { readonly index: number; readonly comment: Comment };

/** All comments of a text, in its order. */
export function commentsOf(tokens: readonly CST.Token[]): readonly Found[] {
  const found: Found[] = [];
  const collect = (value: unknown, depth: number) => {
    if (typeof value !== "object" || value === null || depth > 4_000) return;
    if ("type" in value && value.type === "comment" && "offset" in value && "source" in value)
      found.push({ offset: value.offset as number, text: value.source as string });
    for (const part of Object.values(value)) if (typeof part === "object") collect(part, depth + 1);
  };
  collect(tokens, 0);
  return found.sort((a, b) => a.offset - b.offset);
}

/** Line and column of offsets in a text. */
export class Lines {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1))
      this.#starts.push(at + 1);
  }

  /** Both from 0. */
  at(offset: number): { readonly line: number; readonly column: number } {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: offset - (this.#starts[low] ?? 0) };
  }
}

/**
 * Puts comments into the containers where SOPS has them, which decides under which path they are
 * encrypted. `marks` are in the order of the text, `root` is where the document's own go.
 */
export function placeComments(
  comments: readonly Found[],
  marks: readonly Mark[],
  lines: Lines,
  root: Item[],
): void {
  const insertions = new Map<Item[], Insertion[]>();
  const insert = (items: Item[], index: number, found: Found, inline = false) => {
    const bytes = Buffer.from(found.text.slice(1).replace(/\r$/, ""));
    const span = { start: found.offset + 1, end: found.offset + found.text.length };
    const list = insertions.get(items) ?? [];
    list.push({ index, comment: { kind: "comment", bytes, inline, span } });
    insertions.set(items, list);
  };
  let next = 0;
  for (let at = 0; at < comments.length; ) {
    const offset = comments[at]?.offset ?? 0;
    while (next < marks.length && (marks[next]?.start ?? 0) <= offset) next++;
    const limit = marks[next]?.start ?? Infinity;
    const gap: Line[] = [];
    for (; at < comments.length && (comments[at]?.offset ?? 0) < limit; at++) {
      const found = comments[at];
      if (found !== undefined) gap.push({ ...found, ...lines.at(found.offset) });
    }
    placeGap({ gap, before: marks[next - 1], after: marks[next], lines, root, insert });
  }
  for (const [items, list] of insertions) weave(items, list);
}

function weave(items: Item[], insertions: readonly Insertion[]): void {
  const woven: Item[] = [];
  let at = 0;
  for (const { index, comment } of insertions.toSorted((a, b) => a.index - b.index)) {
    while (at < index && at < items.length) woven.push(items[at++] as Item);
    woven.push(comment);
  }
  items.splice(0, items.length, ...woven, ...items.slice(at));
}

type Gap = {
  readonly gap: readonly Line[];
  readonly before: Mark | undefined;
  readonly after: Mark | undefined;
  readonly lines: Lines;
  readonly root: Item[];
  readonly insert: (items: Item[], index: number, found: Found, inline?: boolean) => void;
};

function placeGap(gap: Gap): void {
  const { before, after, lines, insert, root } = gap;
  let comments = gap.gap;
  const [first] = comments;
  const endLine = before === undefined ? -1 : lines.at(Math.max(before.end - 1, 0)).line;
  // Behind the | of a block scalar, whose text is still to come, or at the end of a line.
  const isBehind = first !== undefined && (first.line === endLine || first.offset < (before?.end ?? 0));
  if (before !== undefined && isBehind) {
    if (before.within === undefined)
      insert(before.place.items, before.place.index, first, !before.opens);
    else insert(before.within, 0, first);
    comments = comments.slice(1);
  }
  for (const { group, isFoot } of groupsOf(comments, gap, endLine)) {
    const place = isFoot ? footPlace(group, before) : undefined;
    const isApart = (lineOf(after, lines) ?? 0) > (group.at(-1)?.line ?? 0) + 1;
    for (const comment of group) {
      if (place !== undefined) insert(place.items, place.index + 1, comment);
      else if (after?.inner !== undefined && isApart) insert(after.inner, 0, comment);
      else if (after !== undefined) insert(after.place.items, after.place.index, comment);
      else insert(root, root.length, comment);
    }
  }
}

type Group = { readonly group: readonly Line[]; readonly isFoot: boolean };

/** Runs of comment lines, each told apart: does it end what is above it, or introduce what follows? */
function groupsOf(comments: readonly Line[], gap: Gap, endLine: number): readonly Group[] {
  const indent = gap.before === undefined ? 0 : indentOf(gap.before.place);
  const nextColumn = gap.after === undefined ? undefined : columnOf(gap.after, gap.lines);
  const groups: Group[] = [];
  let group: Line[] = [];
  let isFirstEmpty = (comments[0]?.line ?? 0) <= endLine + 1;
  const close = (isFoot: boolean) => {
    if (group.length > 0) groups.push({ group, isFoot });
    group = [];
  };
  for (const [i, comment] of comments.entries()) {
    const start = group[0] ?? comment;
    if (comment.column < indent && comment.column !== start.column) close(true);
    group.push(comment);
    const following = comments[i + 1]?.line ?? lineOf(gap.after, gap.lines);
    if (following !== undefined && following <= comment.line + 1) continue;
    const head = group[0] ?? comment;
    const isBelow = head.line === endLine + 1 && gap.before?.opens === false;
    if (isFirstEmpty && (isBelow || head.column < indent)) close(true);
    isFirstEmpty = false;
  }
  const start = group[0];
  const isDedented = nextColumn !== undefined && nextColumn < indent && nextColumn !== start?.column;
  close(isDedented);
  return groups;
}

const lineOf = (mark: Mark | undefined, lines: Lines) =>
  mark === undefined ? undefined : lines.at(mark.start).line;

/** A list item begins at its dash, which is where the list is. */
const columnOf = ({ start, place }: Mark, lines: Lines) => place.indent ?? lines.at(start).column;

function indentOf(place: Place): number {
  let at: Place | undefined = place;
  while (at !== undefined && at.indent === undefined) at = at.parent;
  return at?.indent ?? 0;
}

/** The innermost container around that is indented as the comment is. */
function footPlace(group: readonly Line[], before: Mark | undefined): Place | undefined {
  const column = group[0]?.column ?? 0;
  const inner = before?.place;
  if (inner !== undefined && column > indentOf(inner)) return inner;
  let at = inner;
  while (at !== undefined && at.indent !== column) at = at.parent;
  return at;
}
