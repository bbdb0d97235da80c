import { CapitanError } from "../errors/index.ts";
import type { Json } from "../json/index.ts";
import { limits } from "./limits.ts";
import { renderTemplate, type Template } from "./template.ts";

const suffix = ".hbs";

/** Whether a file of a layer is a template; all others go as they are. */
export function isTemplatePath(path: string): boolean {
  return path.endsWith(suffix);
}

/** The names of the files that a layer's files become. Throws TemplateInvalid when two become one. */
export function renderedPaths(paths: Iterable<string>): ReadonlyMap<string, string> {
  const rendered = new Map<string, string>();
  const seen = new Set<string>();
  for (const path of paths) {
    const name = isTemplatePath(path) ? path.slice(0, -suffix.length) : path;
    if (seen.has(name) || name === "" || name.endsWith("/"))
      throw new CapitanError(
        "TemplateInvalid",
        `${path}: another file becomes ${name} too, or nothing does`,
      );
    seen.add(name);
    rendered.set(path, name);
  }
  return rendered;
}

/** Renders the templates of one layer for one cluster. Throws what `renderTemplate` throws. */
export function renderAll(templates: readonly Template[], context: Json): readonly string[] {
  let left: number = limits.layerCharsMax;
  return templates.map((template) => {
    const text = renderTemplate(template, context);
    left -= text.length;
    if (left >= 0) return text;
    const what = `the rendered files have more than ${limits.layerCharsMax} characters together`;
    throw new CapitanError("TemplateTooLarge", `${template.file}: ${what}`);
  });
}
