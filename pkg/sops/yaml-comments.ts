import type { CST } from "yaml";
import type { Comment, Node, Pair } from "./tree.ts";

type Item = Pair | Comment | Node;

/** An item of a container, and the container's own item in the one around it. */
export type Place = {
  readonly items: Item[];
  readonly index: number;
  /** The column of a block container; undefined for one in braces or brackets, and for a list as far left as its key. */
  readonly indent: number | undefined;
  /** Where each item begins, in a block container. */
  readonly column: number | undefined;
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
  readonly #text: string;
  readonly #starts: number[] = [0];

  constructor(text: string) {
    this.#text = text;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1))
      this.#starts.push(at + 1);
  }

  /** The column of a key or item with the tags and anchors in front of it. */
  columnOf(offset: number): number {
    const { column } = this.at(offset);
    const line = this.#text.slice(offset - column, offset);
    return line.replace(/(?:[!&][^ ]* +)+$/, "").length;
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
  for (const gap of gapsOf(comments, marks, lines)) {
    for (const { items, index, line, inline } of placed(gap, root)) {
      const list = insertions.get(items) ?? [];
      list.push({ index, comment: commentOf(line, inline) });
      insertions.set(items, list);
    }
  }
  for (const [items, list] of insertions) weave(items, list);
}

function commentOf({ offset, text }: Found, inline: boolean): Comment {
  const bytes = Buffer.from(text.slice(1).replace(/\r$/, ""));
  return { kind: "comment", bytes, inline, span: { start: offset + 1, end: offset + text.length } };
}

function weave(items: Item[], insertions: readonly Insertion[]): void {
  const woven: Item[] = [];
  let at = 0;
  for (const { index, comment } of insertions.toSorted((a, b) => a.index - b.index)) {
    const stop = Math.min(index, items.length);
    woven.push(...items.slice(at, stop), comment);
    at = Math.max(at, stop);
  }
  items.splice(0, items.length, ...woven, ...items.slice(at));
}

/** The comments between two marks. */
type Gap = {
  readonly lines: readonly Line[];
  readonly before: Mark | undefined;
  readonly after: Mark | undefined;
  /** The line on which what is before ends; -1 at the beginning. */
  readonly endLine: number;
  /** The line and column at which what is after begins. */
  readonly next: { readonly line: number; readonly column: number } | undefined;
};

function gapsOf(comments: readonly Found[], marks: readonly Mark[], lines: Lines): readonly Gap[] {
  const gaps = new Map<number, Line[]>();
  let next = 0;
  for (const comment of comments) {
    for (let mark = marks[next]; mark !== undefined && mark.start <= comment.offset;)
      mark = marks[++next];
    const gap = gaps.get(next) ?? [];
    gap.push({ ...comment, ...lines.at(comment.offset) });
    gaps.set(next, gap);
  }
  return [...gaps].map(([index, gap]) => {
    const [before, after] = [marks[index - 1], marks[index]];
    return {
      lines: gap,
      before,
      after,
      endLine: before === undefined ? -1 : lines.at(Math.max(before.end - 1, 0)).line,
      next: after === undefined ? undefined : placeOf(after, lines),
    };
  });
}

/** A list item begins at its dash, which is where the list is. */
function placeOf({ start, place }: Mark, lines: Lines) {
  const { line, column } = lines.at(start);
  return { line, column: place.column ?? column };
}

type Placed = {
  readonly items: Item[];
  readonly index: number;
  readonly line: Line;
  readonly inline: boolean;
};

function placed(gap: Gap, root: Item[]): readonly Placed[] {
  const behind = lineComment(gap);
  const rest = behind === undefined ? gap.lines : gap.lines.slice(1);
  const others = groupsOf(rest, gap).flatMap((group) => {
    const { items, index } = targetOf(group, gap, root);
    return group.lines.map((line) => ({ items, index, line, inline: false }));
  });
  return behind === undefined ? others : [behind, ...others];
}

/** A comment at the end of a line, or behind the | of a block scalar, whose text is still to come. */
function lineComment({ lines, before, endLine }: Gap): Placed | undefined {
  const [line] = lines;
  if (line === undefined || before === undefined) return undefined;
  if (line.line !== endLine && line.offset >= before.end) return undefined;
  if (before.within !== undefined) return { items: before.within, index: 0, line, inline: false };
  const { items, index } = before.place;
  return { items, index, line, inline: !before.opens };
}

/** Comment lines that stay together. A foot ends what is above it, any other introduces what follows. */
type Group = { readonly lines: readonly Line[]; readonly isFoot: boolean };

function targetOf(group: Group, { before, after, next }: Gap, root: Item[]) {
  const place = group.isFoot ? footPlace(group.lines, before) : undefined;
  if (place !== undefined) return { items: place.items, index: place.index + 1 };
  if (after === undefined) return { items: root, index: root.length };
  const last = group.lines.at(-1)?.line ?? 0;
  const isApart = next !== undefined && next.line > last + 1;
  if (after.inner !== undefined && isApart) return { items: after.inner, index: 0 };
  return { items: after.place.items, index: after.place.index };
}

function groupsOf(comments: readonly Line[], gap: Gap): readonly Group[] {
  const indent = gap.before === undefined ? 0 : indentOf(gap.before.place);
  const groups: Group[] = [];
  let group: Line[] = [];
  let isFirst = isClose(comments, gap);
  const close = (isFoot: boolean) => {
    if (group.length > 0) groups.push({ lines: group, isFoot });
    group = [];
  };
  for (const [i, comment] of comments.entries()) {
    if (isDedented(group, comment.column, indent)) close(true);
    group.push(comment);
    const following = comments[i + 1] ?? gap.next;
    if (following !== undefined && following.line <= comment.line + 1) continue;
    if (isFirst && endsAbove(group, gap, indent)) close(true);
    isFirst = false;
  }
  close(gap.next !== undefined && isDedented(group, gap.next.column, indent));
  return groups;
}

/** Whether there is no empty line between what is before and the comments. */
const isClose = ([first]: readonly Line[], { endLine }: Gap) =>
  first !== undefined && first.line <= endLine + 1;

/** Whether something further left follows that is not in line with the comments. */
function isDedented(group: readonly Line[], column: number, indent: number): boolean {
  const [start] = group;
  return start !== undefined && column < indent && column !== start.column;
}

/** Comments right below something, with an empty line after them, or further left than it. */
function endsAbove(group: readonly Line[], { before, endLine }: Gap, indent: number): boolean {
  const [start] = group;
  if (start === undefined) return false;
  return (start.line === endLine + 1 && before?.opens === false) || start.column < indent;
}

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
