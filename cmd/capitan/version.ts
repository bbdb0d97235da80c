import { readFile } from "node:fs/promises";
import type { CommandModule } from "yargs";
import { formatted } from "./text.ts";

/** `capitan version` */
export const version: CommandModule<object, { output: string }> = {
  command: "version",
  describe: "Print the version",
  builder: {
    output: {
      alias: "o",
      choices: ["table", "json", "yaml"],
      default: "table",
      describe: "Form of the output",
    },
  } as const,
  handler: async ({ output }) => {
    const manifest = JSON.parse(
      await readFile(new URL("../../package.json", import.meta.url), "utf8"),
    ) as { version: string };
    const result = { capitan: `v${manifest.version}`, node: process.version };
    process.stdout.write(
      output === "table"
        ? `capitan ${result.capitan}\n`
        : formatted(result, output as "json" | "yaml"),
    );
  },
};
