/** Lines around a change that are shown with it. */
const contextLines = 3;
/** Beyond it, everything is shown as replaced: the table of a comparison grows with the square. */
const linesMax = 4_000;

type Line = { readonly sign: " " | "-" | "+"; readonly text: string };

/** What changes from one text to another, as `diff -u` writes it; empty when nothing does. */
export function unifiedDiff(path: string, before: string | undefined, after: string | undefined) {
  if (before === after) return "";
  const lines = diffLines(linesOf(before), linesOf(after));
  const head = [
    `--- ${before === undefined ? "/dev/null" : `a/${path}`}`,
    `+++ ${after === undefined ? "/dev/null" : `b/${path}`}`,
  ];
  return [...head, ...hunksOf(lines)].map((line) => `${line}\n`).join("");
}

function linesOf(text: string | undefined): readonly string[] {
  if (text === undefined || text === "") return [];
  return text.replace(/\n$/, "").split("\n");
}

function diffLines(before: readonly string[], after: readonly string[]): readonly Line[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let end = 0;
  const least = Math.min(before.length, after.length) - start;
  while (end < least && before.at(-1 - end) === after.at(-1 - end)) end++;
  const line = (sign: Line["sign"]) => (text: string) => ({ sign, text });
  const [from, to] = [
    before.slice(start, before.length - end),
    after.slice(start, after.length - end),
  ];
  return [
    ...before.slice(0, start).map(line(" ")),
    ...middle(from, to),
    ...before.slice(before.length - end).map(line(" ")),
  ];
}

/** The longest common lines stay, by the usual table. */
function middle(from: readonly string[], to: readonly string[]): readonly Line[] {
  const replaced = () => [
    ...from.map((text) => ({ sign: "-", text }) as const),
    ...to.map((text) => ({ sign: "+", text }) as const),
  ];
  if (from.length * to.length > linesMax * linesMax) return replaced();
  const common = tableOf(from, to);
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const isSame = from[i] === to[j];
    const sign = isSame ? " " : common(i + 1, j) >= common(i, j + 1) ? "-" : "+";
    lines.push({ sign, text: (sign === "+" ? to[j] : from[i]) ?? "" });
    if (sign !== "+") i++;
    if (sign !== "-") j++;
  }
  return lines;
}

/** How many lines the ends of both have in common, from a line of each on; -1 beyond the end. */
function tableOf(from: readonly string[], to: readonly string[]) {
  const width = to.length + 1;
  const table = new Uint16Array((from.length + 1) * width);
  const at = (i: number, j: number) => table[i * width + j] ?? 0;
  for (let i = from.length - 1; i >= 0; i--)
    for (let j = to.length - 1; j >= 0; j--)
      table[i * width + j] =
        from[i] === to[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  return (i: number, j: number) => (i > from.length || j > to.length ? -1 : at(i, j));
}

function hunksOf(lines: readonly Line[]): readonly string[] {
  const near = lines.map((_, i) =>
    lines
      .slice(Math.max(0, i - contextLines), i + contextLines + 1)
      .some(({ sign }) => sign !== " "),
  );
  const shown: string[] = [];
  let [old, fresh] = [1, 1];
  for (const [i, { sign, text }] of lines.entries()) {
    if (near[i] === true && near[i - 1] !== true) shown.push(headOf(lines, near, i, [old, fresh]));
    if (near[i] === true) shown.push(`${sign}${text}`);
    if (sign !== "+") old++;
    if (sign !== "-") fresh++;
  }
  return shown;
}

function headOf(
  lines: readonly Line[],
  near: readonly boolean[],
  from: number,
  [old, fresh]: readonly [number, number],
): string {
  const end = near.indexOf(false, from);
  const hunk = lines.slice(from, end < 0 ? lines.length : end);
  const [olds, news] = ["+", "-"].map((other) => hunk.filter(({ sign }) => sign !== other).length);
  const start = (line: number, count = 0) => (count === 0 ? line - 1 : line);
  return `@@ -${start(old, olds)},${olds} +${start(fresh, news)},${news} @@`;
}
