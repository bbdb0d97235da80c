import type { CommandModule } from "yargs";
import { recipientsOf, type FileRecipients } from "../../pkg/sops/index.ts";
import {
  asSops,
  onFile,
  pathsOption,
  secretFiles,
  secretOptions,
  type FileArguments,
} from "./secret-files.ts";
import { outputOptions } from "./registry.ts";
import { printed, table } from "./text.ts";

type Arguments = FileArguments & { readonly path: string[]; readonly output: string };
type Inspected = FileRecipients & { readonly file: string };

/** `capitan secrets inspect PATH...` */
export const secretsInspect: CommandModule<object, Arguments> = {
  command: "inspect <path..>",
  describe: "Show who can open encrypted files and what their metadata say; needs no key",
  builder: (y) => y.positional("path", pathsOption).options({ ...secretOptions, ...outputOptions }),
  handler: (args) => asSops(() => inspect(args)),
};

async function inspect(args: Arguments): Promise<void> {
  const files: Inspected[] = [];
  for await (const { path, bytes, format } of secretFiles(args.path, args))
    files.push({ file: path, ...(await onFile(path, () => recipientsOf(bytes, format))) });
  process.stdout.write(
    printed(files, args.output, () =>
      table(["file", "modified", "rule", "recipients"], files.map(rowOf)),
    ),
  );
}

function rowOf({
  file,
  lastModified,
  rule,
  groups,
  foreign,
  threshold,
}: Inspected): readonly string[] {
  const recipients = groups.map((group) => group.join(" ")).join(" | ");
  const needed = groups.length > 1 ? `${threshold} of: ` : "";
  const others = foreign.length > 0 ? ` and ${foreign.join(", ")}` : "";
  return [file, lastModified, `${rule.kind} ${rule.pattern}`, `${needed}${recipients}${others}`];
}
