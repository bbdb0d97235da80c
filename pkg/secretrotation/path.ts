import { SopsError } from "../sops/index.ts";

/** Where a value stands in a file: keys of maps, and positions in lists. */
export type ValuePath = readonly (string | number)[];

/** Reads `["key"]['other'][0]`, sops' way to write a path. Throws SopsFileInvalid. */
export function parseValuePath(text: string): ValuePath {
  const step = /\[(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\d{1,6}))\]/y;
  const steps: (string | number)[] = [];
  while (step.lastIndex < text.length) {
    const match = step.exec(text);
    if (match === null) throw noPath(text);
    const [, double, single, index] = match;
    if (index !== undefined) steps.push(Number(index));
    else steps.push(single ?? unquoted(double ?? "", text));
  }
  return steps;
}

function unquoted(inner: string, text: string): string {
  try {
    return JSON.parse(`"${inner}"`) as string;
  } catch (error) {
    if (error instanceof SyntaxError) throw noPath(text);
    throw error;
  }
}

const noPath = (text: string) =>
  new SopsError("SopsFileInvalid", 1, `${text} is no path; write ["key"]["other"][0]`);

/** The reverse of `parseValuePath`. */
export const formatValuePath = (path: ValuePath): string =>
  path.map((step) => `[${JSON.stringify(step)}]`).join("");
