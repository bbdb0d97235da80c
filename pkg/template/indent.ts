import type { Arguments } from "./arguments.ts";

/** Line breaks that some readers of YAML know, and characters that none lets through. */
const foreign = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufeff\ufffe\uffff]/u;

/**
 * Text whose lines after the first begin with so many blanks, as a block scalar (`|`) needs it, without
 * its last line break. Undefined when YAML would take another indentation from it or change it.
 */
export function indented(text: string, columns: number): string | undefined {
  if (foreign.test(text) || /^\n*[ \t]/.test(text)) return undefined;
  const blanks = " ".repeat(columns);
  const lines = text.replace(/\n+$/, "").split("\n");
  return lines.map((line, i) => (i === 0 || line === "" ? line : `${blanks}${line}`)).join("\n");
}

/** The blanks that are missing before the first line. Throws TemplateInvalid when there are too many already. */
export function padding({ line = "", problem }: Arguments, columns: number): string {
  if (line.length <= columns) return " ".repeat(columns - line.length);
  throw problem(
    "TemplateInvalid",
    `stands in column ${line.length}, after the ${columns} it asks for`,
  );
}
