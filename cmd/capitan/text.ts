import { styleText } from "node:util";
import { stringify } from "yaml";

/** Terminal escape sequences, control characters and characters that turn the direction of text. */
const terminalControl = new RegExp(
  [
    String.raw`\u001b\[[0-9;?]*[ -/]*[@-~]`,
    String.raw`\u001b[@-_]`,
    String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]`,
  ].join("|"),
  "g",
);

/** Text from a cluster, a registry or a file, without what could rewrite the terminal. */
export function clean(text: string): string {
  return text.replaceAll(terminalControl, "");
}

/** Less than this of the last column, which says why, helps nobody: then the terminal may wrap it. */
const leastOfLast = 24;

/**
 * A table with upper-case headers, columns as wide as their content, the last one cut to the
 * terminal's width where enough of it is left.
 */
export function table(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  columns = process.stdout.columns,
): string {
  const all = [
    headers.map((h) => h.toUpperCase()),
    ...rows.map((row) => row.map((cell) => clean(cell).replaceAll("\n", " "))),
  ];
  const widths = headers.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)));
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 3, 0);
  const cutAt = columns - before < leastOfLast ? 0 : columns;
  const lines = all.map((row) => {
    const line = row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join("   ")
      .trimEnd();
    return cutAt > 0 && line.length > cutAt ? `${line.slice(0, cutAt - 1)}…` : line;
  });
  return `${lines.join("\n")}\n`;
}

/** A table of what was found; that nothing was is said on stderr, where no script takes it for a result. */
export function foundTable(
  what: string,
  headers: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  if (rows.length > 0) return table(headers, rows);
  process.stderr.write(`no ${what}\n`);
  return "";
}

/** The value of `-o`. */
export type Format = "table" | "wide" | "json" | "yaml";

/** `-o` of commands that have no table. */
export const outputOption = {
  output: {
    alias: "o",
    choices: ["text", "json", "yaml"],
    default: "text",
    describe: "Form of the output",
  },
} as const;

/** Its argument. */
export type Output = { readonly output: "text" | "json" | "yaml" };

/** What JSON leaves as it is and a terminal would obey. */
const unescaped = /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Objects as a script wants them. What a terminal would obey is escaped in JSON and left out of YAML. */
export function formatted(value: unknown, format: "json" | "yaml"): string {
  if (format === "yaml") return stringify(value).replaceAll(terminalControl, "");
  const json = JSON.stringify(value, undefined, 2).replaceAll(
    unescaped,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${json}\n`;
}

/** A result in the form that `-o` asks for; `table` makes the one for people. */
export function printed(result: unknown, output: string, asTable: () => string): string {
  return output === "json" || output === "yaml" ? formatted(result, output) : asTable();
}

/** Green, yellow or red on a terminal, plain elsewhere. */
export function coloured(text: string, status: string): string {
  if (!process.stdout.isTTY) return text;
  return styleText(status === "True" ? "green" : status === "False" ? "red" : "yellow", text);
}

/** How long ago: 5s, 3m, 2h, 4d. */
export function ago(time: string | undefined, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(time ?? "")) / 1000));
  if (Number.isNaN(seconds)) return "";
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
