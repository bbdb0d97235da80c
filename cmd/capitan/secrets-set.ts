import { text as readStream } from "node:stream/consumers";
import type { CommandModule } from "yargs";
import { parseValuePath } from "../../pkg/secretrotation/index.ts";
import { setValue } from "../../pkg/sops/index.ts";
import {
  asSops,
  onFile,
  readSecret,
  replaceFile,
  secretOptions,
  type FileArguments,
} from "./secret-files.ts";
import { chance, ownIdentities } from "./secret-keys.ts";
import { configOptions, findConfig, layoutOf, type ConfigArguments } from "./sops-config.ts";

type Arguments = FileArguments &
  ConfigArguments & {
    readonly file: string;
    readonly where: string;
    readonly value?: string | undefined;
    readonly "value-stdin": boolean;
  };

/** `capitan secrets set FILE '["key"]["other"][0]' VALUE` */
export const secretsSet: CommandModule<object, Arguments> = {
  command: "set <file> <where> [value]",
  describe: "Set one value in place; all others keep their bytes",
  builder: (y) =>
    y
      .positional("file", { type: "string", demandOption: true, describe: "Encrypted file" })
      .positional("where", {
        type: "string",
        demandOption: true,
        describe: 'Path to the value: ["key"]["other"][0]',
      })
      .positional("value", { type: "string", describe: "The value as JSON" })
      .options({
        "value-stdin": {
          type: "boolean",
          default: false,
          describe: "Read the value from stdin, where no process list shows it",
        },
        ...secretOptions,
        ...configOptions,
      })
      .check(({ value, "value-stdin": stdin }) =>
        (value === undefined) === stdin ? true : "give the value, or --value-stdin",
      )
      .example(
        `$0 secrets set app.sops.yaml '["stringData"]["token"]' '"new"'`,
        "One line of the file changes, and the MAC",
      ),
  handler: (args) => asSops(() => set(args)),
};

async function set(args: Arguments): Promise<void> {
  const { path, bytes, format } = await readSecret(args.file, args);
  const json = args.value ?? (await readStream(process.stdin));
  const steps = parseValuePath(args.where);
  const layout = layoutOf(await findConfig(args));
  const { file, changed } = await onFile(path, async () =>
    setValue(
      bytes,
      { format, layout, json, path: steps, identities: await ownIdentities() },
      chance,
    ),
  );
  if (changed) await replaceFile(path, file);
}
