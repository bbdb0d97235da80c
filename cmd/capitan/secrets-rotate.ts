import type { Argv, CommandModule } from "yargs";
import { rotateFile } from "../../pkg/sops/index.ts";
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
} from "./secret-files.ts";
import { chance, ownIdentities } from "./secret-keys.ts";
import { outputOption, printed } from "./text.ts";

type Arguments = FileArguments & {
  readonly path: string[];
  readonly "add-age": string[];
  readonly "rm-age": string[];
  readonly output: string;
};

/** `capitan secrets rotate PATH...` */
export const secretsRotate: CommandModule<object, Arguments> = {
  command: "rotate <path..>",
  describe: "Give files a new data key, in place; every value is encrypted anew",
  builder,
  handler: (args) => asSops(() => rotate(args)),
};

const recipients = (describe: string) =>
  ({ type: "string", array: true, nargs: 1, default: [] as string[], describe }) as const;

function builder(y: Argv) {
  return repeatable(y, "add-age", "rm-age", "path")
    .positional("path", pathsOption)
    .options({
      "add-age": recipients("Recipient to add, with commas between several"),
      "rm-age": recipients("Recipient to take away, with commas between several"),
      ...secretOptions,
      ...outputOption,
    })
    .example(
      "$0 secrets rotate --rm-age age1… clusters/prod-eu-1",
      "Old copies of the files stay readable",
    );
}

async function rotate(args: Arguments): Promise<void> {
  const identities = await ownIdentities();
  const change = { add: split(args["add-age"]), remove: split(args["rm-age"]) };
  const rotated: { readonly file: string; readonly groups: readonly (readonly string[])[] }[] = [];
  for await (const { path, format, bytes } of secretFiles(args.path, args)) {
    progress(`rotating ${path}`);
    const { file, groups } = await onFile(path, () =>
      rotateFile(bytes, { format, identities, ...change }, chance),
    );
    await replaceFile(path, file);
    rotated.push({ file: path, groups });
  }
  process.stdout.write(
    printed(rotated, args.output, () => rotated.map(({ file }) => `${file}\n`).join("")),
  );
}

const split = (texts: readonly string[]) =>
  texts
    .flatMap((text) => text.split(","))
    .map((text) => text.trim())
    .filter((text) => text !== "");
