import type { Argv } from "yargs";

/** For a command with options that may be repeated: all their values count; of any other the last, as everywhere. */
export function repeatable<T>(y: Argv<T>, ...options: readonly string[]): Argv<T> {
  const names = new Set(options.map(camel));
  return y.parserConfiguration({ "duplicate-arguments-array": true }).middleware((argv) => {
    const values = argv as Record<string, unknown>;
    for (const [name, value] of Object.entries(values)) {
      const isPlain = name !== "_" && !names.has(camel(name));
      if (isPlain && Array.isArray(value)) values[name] = value.at(-1);
    }
  }, true);
}

const camel = (name: string) =>
  name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
