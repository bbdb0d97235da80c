import type { Argv, CommandModule } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import { encryptFile, isEncrypted, type Rule } from "../../pkg/sops/index.ts";
import { progress } from "./progress.ts";
import { repeatable } from "./repeatable.ts";
import {
  asSops,
  onFile,
  pathsOption,
  replaceFile,
  secretFiles,
  secretOptions,
  type FileArguments,
  type SecretFile,
} from "./secret-files.ts";
import { chance } from "./secret-keys.ts";
import {
  configOptions,
  findConfig,
  layoutOf,
  ruleFor,
  ruleIfAny,
  type ConfigArguments,
  type FoundConfig,
} from "./sops-config.ts";
import { outputOption, printed } from "./text.ts";

type Arguments = FileArguments &
  ConfigArguments & {
    readonly path: string[];
    readonly age?: string[] | undefined;
    readonly "encrypted-regex"?: string | undefined;
    readonly "in-place": boolean;
    readonly check: boolean;
    readonly output: string;
  };

/** `capitan secrets encrypt PATH...` */
export const secretsEncrypt: CommandModule<object, Arguments> = {
  command: "encrypt <path..>",
  describe:
    "Encrypt files as .sops.yaml says; of a directory those that a rule names and that are in plaintext",
  builder,
  handler: (args) => asSops(() => encrypt(args)),
};

function builder(y: Argv) {
  return repeatable(y, "age", "path")
    .positional("path", pathsOption)
    .options({
      age: {
        type: "string",
        array: true,
        nargs: 1,
        describe: "Recipient, instead of those of .sops.yaml; repeatable",
      },
      "encrypted-regex": {
        type: "string",
        describe: "Encrypt only what is under matching keys, for instance ^(data|stringData)$",
      },
      "in-place": { alias: "i", type: "boolean", default: false, describe: "Write into the files" },
      check: {
        type: "boolean",
        default: false,
        describe: "Write nothing; exit 1 when a file is in plaintext that should not be",
      },
      ...secretOptions,
      ...configOptions,
      ...outputOption,
    })
    .example("$0 secrets encrypt -i clusters/", "Everything that a rule with path_regex names")
    .example("$0 secrets encrypt --check .", "For CI: is there a secret in plaintext?");
}

async function encrypt(args: Arguments): Promise<void> {
  const found = await findConfig(args);
  const isPlain = (file: SecretFile) => {
    return !isEncrypted(file.bytes, file.format) && ruleIfAny(found, file.path) !== undefined;
  };
  const plain: SecretFile[] = [];
  for await (const file of secretFiles(args.path, args, isPlain))
    if (!args.check || !isEncrypted(file.bytes, file.format)) plain.push(file);
  if (!args.check) await encryptAll(plain, args, found);
  if (!args.check && !args["in-place"]) return;
  const names = plain.map(({ path }) => path);
  process.stdout.write(
    printed({ files: names }, args.output, () => names.map((path) => `${path}\n`).join("")),
  );
  if (args.check && plain.length > 0) process.exitCode = 1;
}

async function encryptAll(
  files: readonly SecretFile[],
  args: Arguments,
  found: FoundConfig | undefined,
): Promise<void> {
  if (files.length > 1 && !args["in-place"])
    throw new CapitanError("FileInvalid", "several files are encrypted in place only: --in-place");
  for (const file of files) {
    progress(`encrypting ${file.path}`);
    const encrypted = await onFile(file.path, () => encryptOne(file, args, found));
    if (args["in-place"]) await replaceFile(file.path, encrypted);
    else process.stdout.write(encrypted);
  }
}

async function encryptOne(
  file: SecretFile,
  args: Arguments,
  found: FoundConfig | undefined,
): Promise<Buffer> {
  const named = args.age
    ?.flatMap((text) => text.split(","))
    .map((text) => text.trim())
    .filter(Boolean);
  const rule = named === undefined ? ruleFor(found, file.path) : undefined;
  return encryptFile(
    file.bytes,
    {
      format: file.format,
      groups: named === undefined ? (rule?.groups ?? []) : [named],
      threshold: rule?.threshold,
      rule: regexRule(args) ?? rule?.rule,
      macOnlyEncrypted: rule?.macOnlyEncrypted,
      layout: layoutOf(found),
    },
    chance,
  );
}

function regexRule(args: Arguments): Rule | undefined {
  const pattern = args["encrypted-regex"];
  return pattern === undefined ? undefined : { kind: "encrypted_regex", pattern };
}
