import { CapitanError, type Code } from "../errors/index.ts";
import { asList, asMap, asString, type JsonMap } from "../json/index.ts";
import { parseYaml } from "../object/index.ts";

/** A kubeconfig, and how messages call it. */
export type Kubeconfig = { readonly what: string; readonly text: string };

/** The cluster and user that the current context names, unchecked, each with the kubeconfig that has it. */
export type SelectedContext = Readonly<
  Record<"cluster" | "user", { readonly map: JsonMap; readonly what: string }>
>;

/**
 * Finds the current context, or the one that is `wanted`. Of several kubeconfigs the first counts that has
 * a name, as for kubectl. Throws `code`.
 */
export function selectContext(
  files: readonly Kubeconfig[],
  code: Code,
  wanted?: string,
): SelectedContext {
  const configs = files.map(({ what, text }) => ({ what, config: asMap(parse(text, what, code)) }));
  const all = files.map(({ what }) => what).join(", ");
  const named = (list: string, field: string, name = "") => {
    const found = configs.flatMap(({ what, config }) => {
      const map = only(config[list], name, field);
      return map === undefined ? [] : [{ map, what }];
    });
    if (found[0] !== undefined) return found[0];
    throw new CapitanError(code, `${all}: ${missing(field, name)}`);
  };
  const missing = (field: string, name: string) => {
    if (wanted === undefined)
      return `${field === "context" ? "current-context" : "the current context"} names no ${field}`;
    if (field !== "context") return `the context ${wanted} names no ${field}`;
    return `no context is named ${name}; there are: ${namesOf(configs).join(", ")}`;
  };
  const current = configs.map(({ config }) => asString(config["current-context"]) ?? "");
  const { map: context } = named(
    "contexts",
    "context",
    wanted ?? current.find((name) => name !== ""),
  );
  return {
    cluster: named("clusters", "cluster", asString(context["cluster"])),
    user: named("users", "user", asString(context["user"])),
  };
}

/** The names of all contexts of some kubeconfigs. Throws `code`. */
export const contextNames = (files: readonly Kubeconfig[], code: Code): readonly string[] =>
  namesOf(files.map(({ what, text }) => ({ config: asMap(parse(text, what, code)) })));

function namesOf(configs: readonly { readonly config: JsonMap }[]): readonly string[] {
  const names = configs.flatMap(({ config }) =>
    asList(config["contexts"]).map((item) => asString(asMap(item)["name"]) ?? ""),
  );
  return [...new Set(names)].filter((name) => name !== "");
}

function parse(text: string, what: string, code: Code): unknown {
  try {
    return parseYaml(text, what);
  } catch (error) {
    // The parser's message holds no content, only a position.
    throw new CapitanError(code, `${what}: not a kubeconfig in YAML`, { cause: error });
  }
}

function only(items: unknown, name: string, field: string): JsonMap | undefined {
  const found = asList(items)
    .map(asMap)
    .filter((item) => item["name"] === name);
  const [first] = found;
  return found.length === 1 && first !== undefined ? asMap(first[field]) : undefined;
}
