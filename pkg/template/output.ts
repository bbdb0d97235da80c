import { CapitanError } from "../errors/index.ts";
import { isInBlockScalar } from "./block-scalar.ts";
import { problem } from "./problem.ts";
import { limits } from "./limits.ts";
import { scalarsOf, type Scalar } from "./line.ts";
import { fitsBlock, fitsInQuotes, fitsPlain, readsAsOther } from "./scalar.ts";
import { textOf, type Expression } from "./tree.ts";

/** A string that `{{x}}` has written: where in its line, and what of the template wrote it. */
type Insert = { readonly start: number; readonly end: number; readonly expression: Expression };

/** What a rendering has written so far: whole lines, and the one that is being written. */
export class Output {
  readonly #file: string;
  readonly #isYaml: boolean;
  #done = "";
  #line = "";
  #inserts: Insert[] = [];

  /** Only in YAML it matters what strings are read as. */
  constructor(file: string, isYaml: boolean) {
    this.#file = file;
    this.#isYaml = isYaml;
  }

  get line(): string {
    return this.#line;
  }

  /** Writes text as it is: the template's own, or a helper's. */
  verbatim(text: string): void {
    const first = text.indexOf("\n");
    if (first < 0) {
      this.#line += text;
    } else {
      const last = text.lastIndexOf("\n") + 1;
      this.#line += text.slice(0, first);
      this.#endLine();
      this.#done += text.slice(first, last);
      this.#line = text.slice(last);
    }
    this.#limit();
  }

  /** Writes a string of somebody else; whether it fits is seen when its line is complete. */
  insert(text: string, expression: Expression): void {
    const start = this.#line.length;
    this.#line += text;
    if (this.#isYaml) this.#inserts.push({ start, end: start + text.length, expression });
    this.#limit();
  }

  /** Everything that was written. Throws InputInvalid when a string does not fit where it was written. */
  end(): string {
    this.#endLine();
    return this.#done;
  }

  /** Whether a line whose text begins in this column would belong to a block scalar, if it stood here. */
  isBlockText(column: number): boolean {
    return !this.#isYaml || isInBlockScalar(this.#done, `${" ".repeat(column)}.`);
  }

  #endLine(): void {
    if (this.#inserts.length > 0) this.#check();
    this.#done += this.#line;
    this.#line = "";
  }

  #check(): void {
    const scalars = scalarsOf(this.#line);
    let at = 0;
    for (const insert of this.#inserts) {
      while (at < scalars.length - 1 && (scalars[at]?.end ?? 0) < insert.end) at += 1;
      if (!fits(this.#line, insert, scalars[at]) && !this.#isBlockText(insert))
        throw this.#refused(insert);
    }
    this.#inserts = [];
  }

  /** Blanks before the text of a line would be taken for its indentation. */
  #isBlockText({ start, end }: Insert): boolean {
    const isFirst = this.#line.slice(0, start).trim() === "";
    const text = this.#line.slice(start, end);
    if (!fitsBlock(text) || (isFirst && text.startsWith(" "))) return false;
    return isInBlockScalar(this.#done, this.#line);
  }

  #refused({ expression }: Insert): CapitanError {
    const shown = textOf(expression);
    const what = `the string ${shown} would not be read back as it is`;
    const remedy = `write {{quote ${shown}}} or {{yaml ${shown} indent=4}} without quotes around it`;
    return problem("InputInvalid", this.#file, expression.place, `${what}: ${remedy}`);
  }

  #limit(): void {
    if (this.#done.length + this.#line.length <= limits.outputCharsMax) return;
    const what = `the rendered file has more than ${limits.outputCharsMax} characters`;
    throw new CapitanError("TemplateTooLarge", `${this.#file}: ${what}`);
  }
}

/** Whether an inserted string is wholly a part of this scalar, and the scalar a string. */
function fits(line: string, { start, end }: Insert, scalar?: Scalar): boolean {
  const text = line.slice(start, end);
  if (scalar === undefined || scalar.start > start || scalar.end < end) return false;
  if (scalar.isQuoted) return fitsInQuotes(text);
  return fitsPlain(text) && !readsAsOther(line.slice(scalar.start, scalar.end));
}
