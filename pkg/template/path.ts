import { CapitanError } from "../errors/index.ts";
import type { Json } from "../json/index.ts";
import type { Shape } from "./context.ts";
import { Evaluation } from "./evaluate.ts";
import { limits } from "./limits.ts";
import { compileTemplate } from "./template.ts";

/**
 * Renders a field that is a template and gives a path inside an artifact or repository: `path`,
 * `sync.path`, `valuesFiles`. `field` is for messages. Small enough to be rendered anywhere.
 * Throws PathUnsafe, and what `renderTemplate` throws.
 */
export function renderPath(text: string, field: string, shape: Shape, context: Json): string {
  if (text.length > limits.pathCharsMax)
    throw unsafe(field, `has more than ${limits.pathCharsMax} characters`);
  const { statements } = compileTemplate(text, field, shape);
  const path = new Evaluation(field, context, false).render(statements);
  checkRelative(path, field);
  return path;
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
