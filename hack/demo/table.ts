/** Prints a table on stdout, an empty line before and after it. */
export function printTable(headers: readonly string[], rows: readonly (readonly string[])[]): void {
  const cells = [headers, ...rows];
  const widths =
    cells[0]?.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0))) ?? [];
  const lines = cells.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("   ")
      .trimEnd(),
  );
  process.stdout.write(`\n${lines.join("\n")}\n\n`);
}
