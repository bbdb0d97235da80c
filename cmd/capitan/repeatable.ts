import type { Argv } from "yargs";

/** For a command with one option that may be repeated: all its values count; of any other the last, as everywhere. */
export function repeatable<T>(y: Argv<T>, option: string): Argv<T> {
  return y.parserConfiguration({ "duplicate-arguments-array": true }).middleware((argv) => {
    const values = argv as Record<string, unknown>;
    for (const [name, value] of Object.entries(values)) {
      const isPlain = name !== "_" && name !== option && camel(name) !== camel(option);
      if (isPlain && Array.isArray(value)) values[name] = value.at(-1);
    }
  }, true);
}

const camel = (name: string) =>
  name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
