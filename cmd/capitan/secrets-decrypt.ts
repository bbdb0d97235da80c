import type { CommandModule } from "yargs";
import { decryptFile, formats, SopsError, type Format } from "../../pkg/sops/index.ts";
import {
  asSops,
  onFile,
  readSecret,
  replaceFile,
  secretOptions,
  type FileArguments,
} from "./secret-files.ts";
import { ownIdentities } from "./secret-keys.ts";
import { configOptions, findConfig, layoutOf, type ConfigArguments } from "./sops-config.ts";

type Arguments = FileArguments &
  ConfigArguments & {
    readonly file: string;
    readonly "output-type"?: Format | undefined;
    readonly "in-place": boolean;
  };

/** `capitan secrets decrypt FILE` */
export const secretsDecrypt: CommandModule<object, Arguments> = {
  command: "decrypt <file>",
  describe: "Print a file in plaintext, as sops decrypt does, MAC verified",
  builder: (y) =>
    y
      .positional("file", { type: "string", demandOption: true, describe: "Encrypted file" })
      .options({
        ...secretOptions,
        "output-type": {
          choices: formats,
          describe: "Format to print in, by default that of the file",
        },
        "in-place": {
          alias: "i",
          type: "boolean",
          default: false,
          describe: "Write into the file",
        },
        ...configOptions,
      })
      .example("$0 secrets decrypt app.sops.yaml", "Identities are found as sops finds them"),
  handler: (args) => asSops(() => decrypt(args)),
};

async function decrypt(args: Arguments): Promise<void> {
  const { path, bytes, format } = await readSecret(args.file, args);
  const layout = layoutOf(await findConfig(args));
  const output = args["output-type"] ?? format;
  const { plaintext } = await onFile(path, async () =>
    decryptFile(bytes, { format, output, layout, identities: await ownIdentities() }),
  );
  if (!args["in-place"]) process.stdout.write(plaintext);
  else if (output === format) await replaceFile(path, plaintext);
  else throw new SopsError("SopsFileInvalid", 1, `${path}: in place it keeps its format`);
}
