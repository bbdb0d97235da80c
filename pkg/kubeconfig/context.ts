import { CapitanError, type Code } from "../errors/index.ts";
import { asList, asMap, asString, type JsonMap } from "../json/index.ts";
import { parseYaml } from "../object/index.ts";

/** The cluster and user that a kubeconfig's current context names, unchecked. */
export type SelectedContext = { readonly cluster: JsonMap; readonly user: JsonMap };

/** Finds the current context. `what` names the kubeconfig in messages. Throws `code`. */
export function selectContext(text: string, what: string, code: Code): SelectedContext {
  const config = asMap(parse(text, what, code));
  const wanted = asString(config["current-context"]) ?? "";
  const context = named(config["contexts"], wanted, "context");
  if (context === undefined)
    throw new CapitanError(code, `${what}: current-context names no context`);
  const cluster = named(config["clusters"], asString(context["cluster"]) ?? "", "cluster");
  if (cluster === undefined)
    throw new CapitanError(code, `${what}: the current context names no cluster`);
  const user = named(config["users"], asString(context["user"]) ?? "", "user");
  if (user === undefined)
    throw new CapitanError(code, `${what}: the current context names no user`);
  return { cluster, user };
}

function parse(text: string, what: string, code: Code): unknown {
  try {
    return parseYaml(text, what);
  } catch (error) {
    // The parser's message holds no content, only a position.
    throw new CapitanError(code, `${what}: not a kubeconfig in YAML`, { cause: error });
  }
}

function named(items: unknown, name: string, field: string): JsonMap | undefined {
  const found = asList(items)
    .map(asMap)
    .filter((item) => item["name"] === name);
  const [first] = found;
  return found.length === 1 && first !== undefined ? asMap(first[field]) : undefined;
}
