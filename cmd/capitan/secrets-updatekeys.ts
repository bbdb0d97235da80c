import type { CommandModule } from "yargs";
import { updateKeys } from "../../pkg/sops/index.ts";
import { progress } from "./progress.ts";
import {
  asSops,
  onFile,
  pathsOption,
  replaceFile,
  secretFiles,
  secretOptions,
  type FileArguments,
} from "./secret-files.ts";
import { chance, ownIdentities } from "./secret-keys.ts";
import { configOptions, findConfig, ruleFor, type ConfigArguments } from "./sops-config.ts";
import { outputOption, printed } from "./text.ts";

type Arguments = FileArguments &
  ConfigArguments & { readonly path: string[]; readonly check: boolean; readonly output: string };

/** `capitan secrets updatekeys PATH...` */
export const secretsUpdatekeys: CommandModule<object, Arguments> = {
  command: "updatekeys <path..>",
  describe: "Give files the recipients that .sops.yaml names, in place; the data key stays",
  builder: (y) =>
    y
      .positional("path", pathsOption)
      .options({
        check: {
          type: "boolean",
          default: false,
          describe: "Write nothing; exit 1 when a file has other recipients",
        },
        ...secretOptions,
        ...configOptions,
        ...outputOption,
      })
      .example("$0 secrets updatekeys clusters/", "What sops updatekeys does for one file"),
  handler: (args) => asSops(() => update(args)),
};

async function update(args: Arguments): Promise<void> {
  const identities = await ownIdentities();
  const found = await findConfig(args);
  const files: { readonly file: string; readonly changed: boolean }[] = [];
  for await (const { path, format, bytes } of secretFiles(args.path, args)) {
    progress(`looking at ${path}`);
    const { file, changed } = await onFile(path, () => {
      const { groups } = ruleFor(found, path);
      return updateKeys(bytes, { format, identities, groups }, chance);
    });
    if (changed && !args.check) await replaceFile(path, file);
    files.push({ file: path, changed });
  }
  const changed = files.filter((file) => file.changed);
  process.stdout.write(
    printed(files, args.output, () => changed.map(({ file }) => `${file}\n`).join("")),
  );
  if (args.check && changed.length > 0) process.exitCode = 1;
}
