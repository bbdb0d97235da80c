import type { CommandModule } from "yargs";
import { diffFiles, parseReference, type ArtifactFiles } from "../../pkg/oci/index.ts";
import { readFiles } from "./artifact-files.ts";
import {
  noCache,
  outputOptions,
  registryOptions,
  urlOption,
  whichOf,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { printed, table } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly other?: string | undefined;
  readonly path?: string | undefined;
  readonly output: string;
};

/** `capitan diff artifact oci://HOST/REPOSITORY:TAG --path DIR` */
export const diffArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url> [other]",
  describe: "Show how the files of an artifact differ from a directory or another artifact",
  builder: (y) =>
    y
      .positional("url", urlOption)
      .positional("other", { type: "string", describe: "Another artifact to compare with" })
      .options({
        path: { alias: "f", type: "string", describe: "Directory or file to compare with" },
        ...registryOptions,
        ...outputOptions,
      })
      .check(({ other, path }) =>
        (other === undefined) !== (path === undefined)
          ? true
          : "compare with one thing: another artifact, or --path",
      )
      .epilogue(
        "Exit codes: 0 the same, 1 different, 2 failed. How files are packed is no difference.",
      ),
  handler: diff,
};

async function diff(args: Arguments): Promise<void> {
  // As diff(1): a script must not take a failure for a difference.
  process.exitCode = 2;
  const { url, other, path = "" } = args;
  const before = await filesAt(url, args);
  const after = other === undefined ? await readFiles(path) : await filesAt(other, args);
  const changes = diffFiles(before, after);
  const rows = () => changes.map(({ change, path: file }) => [change, file]);
  process.stdout.write(
    printed(changes, args.output, () =>
      changes.length === 0 ? "" : table(["change", "path"], rows()),
    ),
  );
  process.exitCode = changes.length === 0 ? 0 : 1;
}

async function filesAt(url: string, args: RegistryArguments): Promise<ArtifactFiles> {
  const reference = parseReference(url);
  return withRegistry(reference, args, async (registry) => {
    const digest = reference.digest ?? (await registry.resolve(whichOf(reference)));
    return registry.pull(digest, noCache);
  });
}
