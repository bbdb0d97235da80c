import { CapitanError } from "../errors/index.ts";
import type { Json } from "../json/index.ts";
import type { Shape } from "./context.ts";
import { compileTemplate, renderTemplate, type Template } from "./template.ts";

/**
 * Reads a condition: what stands between `{{#if` and `}}`, parentheses around a helper's call left out
 * when one likes. Throws TemplateInvalid, TemplateTooLarge.
 */
export function compileCondition(text: string, field: string, shape: Shape): Template {
  const isCall = /^\w+\s/.test(text.trim());
  const condition = compileTemplate(
    `{{#if ${isCall ? `(${text})` : text}}}${yes}{{/if}}`,
    field,
    shape,
  );
  const [block] = condition.statements;
  // Braces in the text could make more of it than one question.
  const isOne =
    condition.statements.length === 1 &&
    block?.kind === "block" &&
    block.body.length === 1 &&
    block.otherwise.length === 0;
  if (isOne) return condition;
  throw new CapitanError("TemplateInvalid", `${field}: is one expression, without braces`);
}

const yes = "yes";

/** Whether it holds, as `#if` takes it. Throws InputMissing, InputInvalid. */
export function holds(condition: Template, context: Json): boolean {
  return renderTemplate(condition, context) === yes;
}
