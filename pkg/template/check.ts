import { openMap, type Shape } from "./context.ts";
import { helperOf } from "./helpers.ts";
import { nameInPath, namesOf, problem } from "./problem.ts";
import type { Block, Call, Expression, Path, Statement } from "./tree.ts";

/** What is known of a scope before there is a context: its shape, and how one gets there from the root. */
type Known = { readonly shape: Shape | "scalar"; readonly path: readonly string[] | undefined };

/**
 * Checks every path against the shape of the context, also where no rendering may ever come by, and
 * gives the paths from the root that the template reads. A path that ends at a map stands for all that
 * is in it. Throws TemplateInvalid.
 */
export function checkNames(
  statements: readonly Statement[],
  file: string,
  shape: Shape,
): ReadonlySet<string> {
  const checker = new Checker(file, { shape, path: [] });
  checker.statements(statements, []);
  return checker.inputs;
}

class Checker {
  readonly inputs = new Set<string>();
  readonly #file: string;
  readonly #root: Known;

  constructor(file: string, root: Known) {
    this.#file = file;
    this.#root = root;
  }

  /** `inner` are the scopes inside the root, the innermost first. */
  statements(statements: readonly Statement[], inner: readonly Known[]): void {
    for (const statement of statements) {
      if (statement.kind === "write") this.#expression(statement.expression, inner);
      if (statement.kind === "block") this.#block(statement, inner);
    }
  }

  #block({ name, subject, body, otherwise }: Block, inner: readonly Known[]): void {
    // What `#with` names is read only as far as its body says.
    const isWith = name === "with" && subject.kind === "path";
    const known = isWith ? this.#follow(subject, inner) : this.#expression(subject, inner);
    // Whether there is such a map in an open one is an input too.
    if (isWith && known.shape === openMap) this.#read(known.path);
    if (name === "with") this.statements(body, [known, ...inner]);
    else if (name === "each") this.statements(body, [somewhere, ...inner]);
    else this.statements(body, inner);
    this.statements(otherwise, inner);
  }

  #expression(expression: Expression, inner: readonly Known[]): Known {
    if (expression.kind === "literal") return somewhere;
    if (expression.kind === "call") return this.#call(expression, inner);
    const known = this.#follow(expression, inner);
    this.#read(known.path);
    return known;
  }

  #call(call: Call, inner: readonly Known[]): Known {
    const [map, key] = call.args;
    const isKeyed = helperOf(call.name).mayMiss && (call.name === "get" || call.name === "has");
    if (isKeyed && map?.kind === "path" && key?.kind === "literal") {
      const { path } = this.#follow(map, inner);
      this.#read(path === undefined ? undefined : [...path, String(key.value)]);
      return somewhere;
    }
    for (const argument of [...call.args, ...call.options.values()])
      this.#expression(argument, inner);
    return somewhere;
  }

  #read(path: readonly string[] | undefined): void {
    if (path !== undefined) this.inputs.add(path.map(nameInPath).join("."));
  }

  #follow(path: Path, inner: readonly Known[]): Known {
    if (path.from === "loop") return somewhere;
    const scopes = path.from === "root" ? [this.#root] : [...inner, this.#root];
    const start = scopes[path.depth];
    if (start === undefined)
      throw problem(
        "TemplateInvalid",
        this.#file,
        path.place,
        `${path.text} leads out of the template`,
      );
    let { shape } = start;
    for (const [i, part] of path.parts.entries()) {
      shape = this.#step(path, path.parts.slice(0, i), shape, part);
    }
    return { shape, path: start.path === undefined ? undefined : [...start.path, ...path.parts] };
  }

  #step(
    path: Path,
    around: readonly string[],
    shape: Shape | "scalar",
    name: string,
  ): Shape | "scalar" {
    if (shape === openMap) return openMap;
    const found = shape !== "scalar" && Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (found !== undefined) return found;
    const owner = around.length === 0 ? "there" : around.join(".");
    const known = shape === "scalar" ? "it is no map" : `known: ${namesOf(Object.keys(shape))}`;
    const what = around.length === 0 ? `${owner} is no ${name}` : `${owner} has no ${name}`;
    throw problem("TemplateInvalid", this.#file, path.place, `${path.text}: ${what}; ${known}`);
  }
}

/** Of the items of a list nothing is known; that the list is read was noted where it was named. */
const somewhere: Known = { shape: openMap, path: undefined };
