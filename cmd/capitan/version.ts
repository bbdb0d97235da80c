import type { CommandModule } from "yargs";
import { ownVersion } from "../own-version.ts";
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
    const result = { capitan: await ownVersion(), node: process.version };
    process.stdout.write(
      output === "table"
        ? `capitan ${result.capitan}\n`
        : formatted(result, output as "json" | "yaml"),
    );
  },
};
