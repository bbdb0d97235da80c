import { CapitanError, type Code } from "../errors/index.ts";
import { isJsonMap, type Json, type JsonMap } from "../json/index.ts";
import { kindOf, type Arguments } from "./arguments.ts";
import { helperOf, isTrue } from "./helpers.ts";
import { limits } from "./limits.ts";
import { Output } from "./output.ts";
import { nameInPath, namesOf, problem } from "./problem.ts";
import { textOf, type Block, type Call, type Expression, type Path } from "./tree.ts";
import type { Place, Statement } from "./tree.ts";

/** Where a name is looked up: the value of the innermost `#each` or `#with`, and what is around it. */
type Scope = { readonly value: Json; readonly loop?: Loop; readonly outer?: Scope };
type Loop = { readonly key: string | number; readonly index: number; readonly size: number };

/** One rendering of one template. Holds nothing that outlives it. */
export class Evaluation {
  readonly #file: string;
  readonly #root: Scope;
  readonly #output: Output;
  #steps = 0;

  constructor(file: string, context: Json, isYaml: boolean) {
    this.#file = file;
    this.#root = { value: context };
    this.#output = new Output(file, isYaml);
  }

  /** The rendered text. Throws InputMissing, InputInvalid, TemplateInvalid, TemplateTooLarge. */
  render(statements: readonly Statement[]): string {
    this.#run(statements, this.#root);
    return this.#output.end();
  }

  #run(statements: readonly Statement[], scope: Scope): void {
    for (const statement of statements) {
      this.#count();
      if (statement.kind === "text") this.#output.verbatim(statement.text);
      else if (statement.kind === "write") this.#write(statement.expression, scope);
      else this.#block(statement, scope);
    }
  }

  #count(): void {
    this.#steps += 1;
    if (this.#steps <= limits.stepsMax) return;
    const what = `the template does more than ${limits.stepsMax} steps`;
    throw new CapitanError("TemplateTooLarge", `${this.#file}: ${what}`);
  }

  #write(expression: Expression, scope: Scope): void {
    if (expression.kind === "call" && helperOf(expression.name).isText === true) {
      const text = this.#called(expression, scope, this.#output.line);
      if (typeof text === "string") this.#output.verbatim(text);
    } else {
      this.#writeValue(this.#value(expression, scope), expression);
    }
  }

  #writeValue(value: Json, expression: Expression): void {
    if (value === null || value === "" || typeof value === "object")
      throw this.#unwritable(value, expression);
    if (typeof value === "string") this.#output.insert(value, expression);
    else this.#output.verbatim(String(value));
  }

  #unwritable(value: Json, expression: Expression): CapitanError {
    const { place } = expression;
    const shown = textOf(expression);
    if (value === null) return this.#problem("InputMissing", place, `${shown} is null`);
    const what =
      value === ""
        ? `${shown} is the empty string: write {{quote ${shown}}}`
        : `${shown} is ${kindOf(value)}: write {{yaml ${shown} indent=4}} or {{json ${shown}}}`;
    return this.#problem("InputInvalid", place, what);
  }

  #block(block: Block, scope: Scope): void {
    switch (block.name) {
      case "if":
      case "unless": {
        const holds = isTrue(this.#maybe(block.subject, scope)) === (block.name === "if");
        return this.#run(holds ? block.body : block.otherwise, scope);
      }
      case "with":
        return this.#with(block, scope);
      case "each":
        return this.#each(block, scope);
    }
  }

  #with({ subject, body }: Block, scope: Scope): void {
    const value = this.#value(subject, scope);
    if (!isJsonMap(value)) throw this.#wrongKind(subject, value, "#with wants a map");
    this.#run(body, { value, outer: scope });
  }

  #each({ subject, body, otherwise }: Block, scope: Scope): void {
    const value = this.#value(subject, scope);
    const items = entriesOf(value);
    if (items === undefined) throw this.#wrongKind(subject, value, "#each wants a list or a map");
    if (items.length === 0) return this.#run(otherwise, scope);
    for (const [index, [key, item]] of items.entries()) {
      this.#count();
      const loop = { key, index, size: items.length };
      this.#run(body, { value: item, loop, outer: scope });
    }
  }

  #wrongKind(subject: Expression, value: Json, wanted: string): CapitanError {
    const what = `${textOf(subject)} is ${kindOf(value)}: ${wanted}`;
    return this.#problem("InputInvalid", subject.place, what);
  }

  /** The value of an expression, which must have one. */
  #value(expression: Expression, scope: Scope): Json {
    const value = this.#maybe(expression, scope);
    if (value !== undefined) return value;
    if (expression.kind === "path") throw this.#missingName(expression, scope);
    const [map] = expression.kind === "call" ? expression.args : [];
    const known = map === undefined ? null : this.#value(map, scope);
    const names = namesOf(isJsonMap(known) ? Object.keys(known) : []);
    const what = `${textOf(expression)}: there is no such key; known: ${names}`;
    throw this.#problem("InputMissing", expression.place, what);
  }

  /** The value, or undefined when all is there but the last name. */
  #maybe(expression: Expression, scope: Scope): Json | undefined {
    switch (expression.kind) {
      case "literal":
        return expression.value;
      case "path":
        return this.#resolve(expression, scope);
      case "call":
        return this.#called(expression, scope, undefined);
    }
  }

  #resolve(path: Path, scope: Scope): Json | undefined {
    const start = this.#start(path, scope);
    if (path.from === "loop") return this.#loopValue(path, start);
    let value = start.value;
    for (const [i, part] of path.parts.entries()) {
      const field = fieldOf(value, part);
      if (field === undefined && i < path.parts.length - 1)
        throw this.#missingAt(path, path.parts.slice(0, i), value, part);
      if (field === undefined && !isJsonMap(value))
        throw this.#missingAt(path, path.parts.slice(0, i), value, part);
      if (field === undefined) return undefined;
      value = field;
    }
    return value;
  }

  #start(path: Path, scope: Scope): Scope {
    if (path.from === "root") return this.#root;
    let found = scope;
    for (let up = 0; up < path.depth; up++) {
      if (found.outer === undefined)
        throw this.#problem(
          "TemplateInvalid",
          path.place,
          `${path.text} leads out of the template`,
        );
      found = found.outer;
    }
    return found;
  }

  #loopValue({ parts, text, place }: Path, scope: Scope): Json {
    let found: Scope | undefined = scope;
    while (found !== undefined && found.loop === undefined) found = found.outer;
    const loop = found?.loop;
    if (loop === undefined)
      throw this.#problem("TemplateInvalid", place, `${text} is there only inside #each`);
    const { key, index, size } = loop;
    const values = { key, index, first: index === 0, last: index === size - 1 };
    return values[parts[0] as keyof typeof values];
  }

  #missingName(path: Path, scope: Scope): CapitanError {
    const around = path.parts.slice(0, -1);
    let { value } = this.#start(path, scope);
    for (const part of around) value = fieldOf(value, part) ?? null;
    return this.#missingAt(path, around, value, path.parts.at(-1) ?? "");
  }

  #missingAt(path: Path, around: readonly string[], value: Json, name: string): CapitanError {
    const { place, text } = path;
    const isRoot = around.length === 0 && fieldOf(this.#root.value, name) !== undefined;
    const hint = isRoot ? `; write @root.${text}` : "";
    const owner = around.length === 0 ? "this" : around.map(nameInPath).join(".");
    if (!isJsonMap(value) && !Array.isArray(value)) {
      const code = value === null ? "InputMissing" : "InputInvalid";
      const what = `${text}: ${owner} is ${kindOf(value)} and has no fields${hint}`;
      return this.#problem(code, place, what);
    }
    const known = Array.isArray(value) ? `0 to ${value.length - 1}` : namesOf(Object.keys(value));
    const what = `${text}: ${owner} has no ${nameInPath(name)}; known: ${known}${hint}`;
    return this.#problem("InputMissing", place, what);
  }

  #called(call: Call, scope: Scope, line: string | undefined): Json | undefined {
    const result = helperOf(call.name).call(this.#arguments(call, scope, line));
    if (typeof result !== "string" || result.length <= limits.outputCharsMax) return result;
    const what = `${call.name} gives more than ${limits.outputCharsMax} characters`;
    throw this.#problem("TemplateTooLarge", call.place, what);
  }

  #arguments(call: Call, scope: Scope, line: string | undefined): Arguments {
    const argument = (index: number): Expression => {
      const found = call.args[index];
      if (found === undefined) throw new RangeError(`${call.name} has no argument ${index}`);
      return found;
    };
    const at = (index: number) => this.#value(argument(index), scope);
    const typed = (index: number, value: Json, wanted: string) =>
      this.#wrongKind(argument(index), value, `${call.name} wants ${wanted}`);
    return {
      count: call.args.length,
      at,
      maybe: (index) => this.#maybe(argument(index), scope),
      text: (index) => {
        const value = at(index);
        if (typeof value !== "string") throw typed(index, value, "a string");
        return value;
      },
      map: (index): JsonMap => {
        const value = at(index);
        if (!isJsonMap(value)) throw typed(index, value, "a map");
        return value;
      },
      shown: (index) => textOf(argument(index)),
      size: (option) => this.#size(call, option, scope),
      line,
      isBlockText: (column) => line === undefined || this.#output.isBlockText(column),
      problem: (code, what) => this.#problem(code, call.place, what),
    };
  }

  #size(call: Call, option: string, scope: Scope): number | undefined {
    const given = call.options.get(option);
    if (given === undefined) return undefined;
    const value = this.#value(given, scope);
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 100)
      return value;
    throw this.#wrongKind(given, value, `${option}= wants a whole number from 0 to 100`);
  }

  #problem(code: Code, place: Place, what: string): CapitanError {
    return problem(code, this.#file, place, what);
  }
}

/** A field of a map or an item of a list, its own only: nothing is ever looked up on a prototype. */
function fieldOf(value: Json, name: string): Json | undefined {
  if (isJsonMap(value)) return Object.hasOwn(value, name) ? value[name] : undefined;
  if (!Array.isArray(value) || !/^(?:0|[1-9]\d{0,9})$/.test(name)) return undefined;
  return (value as readonly Json[])[Number(name)];
}

/** What `#each` goes through: lists in their order, maps in the order of their keys. */
function entriesOf(value: Json): readonly (readonly [string | number, Json])[] | undefined {
  if (Array.isArray(value)) return value.map((item: Json, i) => [i, item] as const);
  if (!isJsonMap(value)) return undefined;
  const keys = Object.keys(value).sort();
  return keys.map((key) => [key, value[key] ?? null] as const);
}
