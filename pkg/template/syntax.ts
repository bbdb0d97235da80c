import Handlebars from "handlebars";
import { CapitanError, messageOf } from "../errors/index.ts";
import { helpers, isHelperName } from "./helpers.ts";
import { limits } from "./limits.ts";
import { problem } from "./problem.ts";
import {
  blockNames,
  type BlockName,
  type Call,
  type Expression,
  type Path,
  type Place,
  type Statement,
} from "./tree.ts";

/**
 * Reads a template with the grammar of Handlebars and keeps only what our language has: text, `{{x}}`,
 * four blocks, our helpers. Takes text only: what Handlebars would compile when it is given an object
 * never gets there. Throws TemplateInvalid, TemplateTooLarge.
 */
export function parseTemplate(text: string, file: string): readonly Statement[] {
  if (typeof text !== "string") throw new CapitanError("TemplateInvalid", `${file}: not a text`);
  if (Buffer.byteLength(text) > limits.templateBytesMax) {
    const what = `the template has more than ${limits.templateBytesMax} bytes`;
    throw new CapitanError("TemplateTooLarge", `${file}: ${what}`);
  }
  return new Reader(file).statements(grammar(text, file), 0);
}

function grammar(text: string, file: string): hbs.AST.Program {
  try {
    return Handlebars.parse(text);
  } catch (error) {
    if (error instanceof RangeError)
      throw new CapitanError("TemplateTooLarge", `${file}: blocks are nested too deeply`);
    throw syntaxError(error, file);
  }
}

/** The parser says where in its text, followed by an excerpt of the template, which is left out. */
function syntaxError(error: unknown, file: string): CapitanError {
  const text = messageOf(error);
  const ofBlock = /^(.*) - (\d+):(\d+)$/s.exec(text);
  if (ofBlock !== null) {
    const [, what = "", line, column] = ofBlock;
    return problem(
      "TemplateInvalid",
      file,
      { line: Number(line), column: Number(column) + 1 },
      what,
    );
  }
  const line = /on line (\d+)/.exec(text)?.[1] ?? "1";
  const got = / got '(\w+)'/.exec(text)?.[1];
  const what = got === undefined ? "" : `, at ${got}`;
  const hint = "braces that are not ours are written \\{{";
  return new CapitanError("TemplateInvalid", `${file}:${line}: not a template${what}; ${hint}`);
}

/** One pass over the tree of Handlebars; whatever is not known here is refused by its name. */
class Reader {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  statements(program: hbs.AST.Program | undefined, depth: number): readonly Statement[] {
    if (program === undefined) return [];
    return program.body.flatMap((node) => this.#statement(node, depth));
  }

  #statement(node: hbs.AST.Statement, depth: number): readonly Statement[] {
    switch (node.type) {
      case "ContentStatement":
        return [{ kind: "text", text: (node as hbs.AST.ContentStatement).value }];
      case "CommentStatement":
        return [];
      case "MustacheStatement":
        return [this.#write(node as hbs.AST.MustacheStatement, depth)];
      case "BlockStatement":
        return [this.#block(node as hbs.AST.BlockStatement, depth)];
      case "PartialStatement":
      case "PartialBlockStatement":
        throw this.#invalid(node, "partials ({{> x}}) are not there");
      case "Decorator":
      case "DecoratorBlock":
        throw this.#invalid(node, "decorators and inline blocks ({{* x}}) are not there");
      default:
        throw this.#invalid(node, "this is not known");
    }
  }

  #write(node: hbs.AST.MustacheStatement, depth: number): Statement {
    if (!node.escaped)
      throw this.#invalid(node, "{{{x}}} and {{&x}} are not there: {{x}} escapes nothing");
    return { kind: "write", expression: this.#called(node, depth), place: placeOf(node) };
  }

  #block(node: hbs.AST.BlockStatement, depth: number): Statement {
    const name = blockNames.find((known) => known === node.path.original && isWord(node.path));
    if (name === undefined) {
      const known = blockNames.map((block) => `#${block}`).join(", ");
      throw this.#invalid(node, `there is no block #${shown(node.path)}; known: ${known}`);
    }
    this.#limitDepth(node, depth);
    const named = [node.program, node.inverse] as readonly (hbs.AST.Program | undefined)[];
    if (named.some((program) => (program?.blockParams ?? []).length > 0))
      throw this.#invalid(node, "block parameters (as |x|) are not there; use this and @key");
    const [subject] = node.params;
    if (subject === undefined || node.params.length !== 1 || pairsOf(node).length > 0)
      throw this.#invalid(node, `#${name} takes one argument`);
    return {
      kind: "block",
      name: this.#allowed(name, node),
      subject: this.#expression(subject, depth + 1),
      body: this.statements(node.program, depth + 1),
      otherwise: this.statements(node.inverse, depth + 1),
      place: placeOf(node),
    };
  }

  #allowed(name: BlockName, node: hbs.AST.BlockStatement): BlockName {
    if (name === "with" && (node.inverse as unknown) !== undefined)
      throw this.#invalid(node, "#with has no {{else}}; ask {{#if}} before");
    return name;
  }

  #expression(node: hbs.AST.Expression, depth: number): Expression {
    const place = placeOf(node);
    switch (node.type) {
      case "StringLiteral":
        return { kind: "literal", value: (node as hbs.AST.StringLiteral).value, place };
      case "BooleanLiteral":
        return { kind: "literal", value: (node as hbs.AST.BooleanLiteral).value, place };
      case "NullLiteral":
        return { kind: "literal", value: null, place };
      case "NumberLiteral":
        return { kind: "literal", value: this.#number(node as hbs.AST.NumberLiteral), place };
      case "PathExpression":
        return this.#path(node as hbs.AST.PathExpression);
      case "SubExpression":
        this.#limitDepth(node, depth);
        return this.#call(node as hbs.AST.SubExpression, depth);
      default:
        throw this.#invalid(node, "this cannot be an argument");
    }
  }

  #number(node: hbs.AST.NumberLiteral): number {
    if (Number.isFinite(node.value)) return node.value;
    throw this.#invalid(node, "this number is too large");
  }

  /** `{{x}}` is a call when x is a helper, or when something follows it. */
  #called(node: hbs.AST.MustacheStatement, depth: number): Expression {
    const { path, params } = node;
    const isCall = params.length > 0 || pairsOf(node).length > 0 || isHelper(path);
    return isCall ? this.#call(node, depth) : this.#expression(path, depth);
  }

  #call(node: hbs.AST.MustacheStatement | hbs.AST.SubExpression, depth: number): Call {
    const name = shown(node.path);
    if (!isHelper(node.path) || !isHelperName(name)) {
      const known = Object.keys(helpers).sort().join(", ");
      throw this.#invalid(node, `there is no helper ${name}; known: ${known}`);
    }
    const { usage, least, most, options: known = [] } = helpers[name];
    const wrong = pairsOf(node).find(({ key }) => !known.includes(key));
    const { length } = node.params;
    if (length < least || length > most || wrong !== undefined)
      throw this.#invalid(node, `${name} is written {{${usage}}}`);
    return {
      kind: "call",
      name,
      args: node.params.map((param) => this.#expression(param, depth + 1)),
      options: new Map(
        pairsOf(node).map(({ key, value }) => [key, this.#expression(value, depth + 1)]),
      ),
      place: placeOf(node),
    };
  }

  #path(node: hbs.AST.PathExpression): Path {
    const { data, depth, original, parts } = node;
    const place = placeOf(node);
    if (!data) return { kind: "path", from: "context", depth, parts, text: original, place };
    const [first = "", ...rest] = parts;
    if (first === "root" && depth === 0)
      return { kind: "path", from: "root", depth, parts: rest, text: original, place };
    if (!["key", "index", "first", "last"].includes(first) || rest.length > 0) {
      const known = "@root, @key, @index, @first, @last";
      throw this.#invalid(node, `there is no ${original}; known: ${known}`);
    }
    return { kind: "path", from: "loop", depth, parts, text: original, place };
  }

  #limitDepth(node: hbs.AST.Node, depth: number): void {
    if (depth < limits.depthMax) return;
    const what = `more than ${limits.depthMax} blocks or expressions inside each other`;
    throw problem("TemplateTooLarge", this.#file, placeOf(node), what);
  }

  #invalid(node: hbs.AST.Node, what: string): CapitanError {
    return problem("TemplateInvalid", this.#file, placeOf(node), what);
  }
}

function placeOf({ loc }: hbs.AST.Node): Place {
  return { line: loc.start.line, column: loc.start.column + 1 };
}

/** A path of one plain word, which may name a helper: `x`, but not `./x`, `this.x`, `@x`, `"x"`. */
function isWord(path: hbs.AST.Expression): path is hbs.AST.PathExpression {
  if (path.type !== "PathExpression") return false;
  const { data, depth, parts, original } = path as hbs.AST.PathExpression;
  return !data && depth === 0 && parts.length === 1 && parts[0] === original;
}

function isHelper(path: hbs.AST.Expression): boolean {
  return isWord(path) && isHelperName(path.original);
}

function shown(path: hbs.AST.Expression): string {
  return (path as hbs.AST.PathExpression).original.slice(0, 60);
}

function pairsOf(node: { readonly hash?: hbs.AST.Hash }): readonly hbs.AST.HashPair[] {
  return node.hash?.pairs ?? [];
}
