import type { Json } from "../json/index.ts";
import { checkNames } from "./check.ts";
import type { Shape } from "./context.ts";
import { Evaluation } from "./evaluate.ts";
import { parseTemplate } from "./syntax.ts";
import type { Statement } from "./tree.ts";

/** A template that was read and checked; the same for every context, and unchanged by rendering. */
export type Template = {
  /** For messages. */
  readonly file: string;
  readonly statements: readonly Statement[];
  /** The paths from the root that it reads, such as `cluster.labels.region`; a map stands for all in it. */
  readonly inputs: ReadonlySet<string>;
};

/** Reads and checks a template. Throws TemplateInvalid, TemplateTooLarge with `file:line:column`. */
export function compileTemplate(text: string, file: string, shape: Shape): Template {
  const statements = parseTemplate(text, file);
  return { file, statements, inputs: checkNames(statements, file, shape) };
}

/**
 * Renders a file of YAML. `context` has the shape that the template was checked with. Throws
 * InputMissing, InputInvalid, TemplateInvalid, TemplateTooLarge with `file:line:column`.
 */
export function renderTemplate({ file, statements }: Template, context: Json): string {
  return new Evaluation(file, context, true).render(statements);
}
