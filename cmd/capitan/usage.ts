import type { Argv, CommandModule } from "yargs";

/** The command line is wrong: nothing was done, exit 2. */
export class WrongUsage extends Error {}

/** What people try first, in our words: `help VERB NOUN`, `--version`. */
export function inOurWords([first, ...rest]: readonly string[]): readonly string[] {
  if (first === "help") return [...rest, "--help"];
  if (first === "--version") return ["version", ...rest];
  return first === undefined ? [] : [first, ...rest];
}

/** What yargs knows of a command's options, and its types do not. */
type Known = {
  readonly getOptions: () => {
    readonly key: Readonly<Record<string, unknown>>;
    readonly boolean: readonly string[];
    readonly array: readonly string[];
  };
};

/**
 * The command, refusing options without a value: of `-l "$LABELS"` with nothing in LABELS an API server
 * makes everything, and of `--timeout` at the end of the line yargs makes the default.
 */
export function demandingValues(module: CommandModule): CommandModule {
  const { builder = {} } = module;
  return {
    ...module,
    builder: (y) => {
      const built = typeof builder === "function" ? (builder(y) as Argv) : y.options(builder);
      const { key, boolean, array } = (built as unknown as Known).getOptions();
      // Those that may be repeated say so themselves, each with one value.
      const others = new Set([...boolean, ...array]);
      const valued = Object.keys(key).filter((name) => !others.has(name));
      return built.requiresArg(valued).check((args) => withoutEmpty(args), false);
    },
  };
}

function withoutEmpty(args: Readonly<Record<string, unknown>>): true | string {
  const empty = Object.entries(args).filter(
    ([name, value]) =>
      name !== "_" && [value].flat().some((each) => typeof each === "string" && each.trim() === ""),
  );
  // The whole word rather than its letter.
  const [name] = empty.map(([each]) => each).sort((a, b) => b.length - a.length);
  return name === undefined || `${name} is empty: give it a value`;
}
