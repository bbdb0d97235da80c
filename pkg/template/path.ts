import { CapitanError } from "../errors/index.ts";
import type { Json } from "../json/index.ts";
import type { Shape } from "./context.ts";
import { Evaluation } from "./evaluate.ts";
import { limits } from "./limits.ts";
import { problem } from "./problem.ts";
import { compileTemplate } from "./template.ts";
import type { Statement } from "./tree.ts";

/**
 * Renders a field that is a template and gives a path inside an artifact or repository: `path`,
 * `sync.path`, `valuesFiles`. `field` is for messages. Without loops it does no more than it is long, so
 * that it needs no thread. Throws PathUnsafe, and what `renderTemplate` throws.
 */
export function renderPath(text: string, field: string, shape: Shape, context: Json): string {
  if (text.length > limits.pathCharsMax)
    throw unsafe(field, `has more than ${limits.pathCharsMax} characters`);
  const { statements } = compileTemplate(text, field, shape);
  refuseLoops(statements, field, "a path");
  const path = new Evaluation(field, context, false).render(statements);
  checkRelative(path, field);
  return path;
}

/**
 * Renders one line of text that is no YAML, such as a commit's message. Throws TemplateInvalid, and what
 * `renderTemplate` throws.
 */
export function renderLine(text: string, field: string, shape: Shape, context: Json): string {
  const { statements } = compileTemplate(text, field, shape);
  refuseLoops(statements, field, "a line");
  const line = new Evaluation(field, context, false).render(statements);
  if (!/\p{Cc}/u.test(line) && line.trim() !== "") return line;
  throw new CapitanError("TemplateInvalid", `${field}: is no line of text once it is rendered`);
}

function refuseLoops(statements: readonly Statement[], field: string, what: string): void {
  for (const statement of statements) {
    if (statement.kind !== "block") continue;
    if (statement.name === "each")
      throw problem("TemplateInvalid", field, statement.place, `${what} has no #each`);
    refuseLoops([...statement.body, ...statement.otherwise], field, what);
  }
}

function checkRelative(path: string, field: string): void {
  const parts = path.split("/");
  if (path.length > limits.pathCharsMax)
    throw unsafe(field, `has more than ${limits.pathCharsMax} characters once it is rendered`);
  if (path.trim() === "") throw unsafe(field, "is empty once it is rendered");
  if (path.startsWith("/")) throw unsafe(field, "is absolute once it is rendered");
  if (parts.includes("..")) throw unsafe(field, "leads out of its root once it is rendered");
  if (/[\p{Cc}\\]/u.test(path))
    throw unsafe(field, "has a control character or a backslash once it is rendered");
}

const unsafe = (field: string, what: string) =>
  new CapitanError("PathUnsafe", `${field}: the path ${what}`);
