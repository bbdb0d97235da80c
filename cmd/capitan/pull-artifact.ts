import type { CommandModule } from "yargs";
import { parseReference } from "../../pkg/oci/index.ts";
import { writeFiles } from "./artifact-files.ts";
import { progress } from "./progress.ts";
import {
  noCache,
  outputOptions,
  registryOptions,
  urlOption,
  whichOf,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { clean, printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly path: string;
  readonly platform?: string | undefined;
  readonly layer?: number | undefined;
  readonly output: string;
};

/** `capitan pull artifact oci://HOST/REPOSITORY:TAG --path DIR` */
export const pullArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url>",
  describe: "Write the files of an artifact into a new or empty directory",
  builder: (y) =>
    y
      .positional("url", urlOption)
      .options({
        path: { alias: "f", type: "string", demandOption: true, describe: "Directory to make" },
        platform: { type: "string", describe: "OS/ARCHITECTURE[/VARIANT] to take of an index" },
        layer: {
          type: "number",
          describe: "Index of the layer to take, from 0; by default the one that Flux takes",
        },
        ...registryOptions,
        ...outputOptions,
      })
      .check(({ layer = 0 }) =>
        Number.isSafeInteger(layer) && layer >= 0 ? true : "--layer is not a whole number",
      ),
  handler: pull,
};

async function pull(args: Arguments): Promise<void> {
  const { layer, platform } = args;
  const reference = parseReference(args.url);
  const result = await withRegistry(reference, args, async (registry) => {
    const digest = reference.digest ?? (await registry.resolve(whichOf(reference)));
    progress(`pulling oci://${registry.name}@${digest}`);
    const layers = layer === undefined ? ("content" as const) : { index: layer };
    const files = await registry.pull(digest, noCache, undefined, { platform, layers });
    await writeFiles(args.path, files);
    return { url: `oci://${registry.name}@${digest}`, digest, files: [...files.keys()] };
  });
  process.stdout.write(
    printed(result, args.output, () => result.files.map((file) => `${clean(file)}\n`).join("")),
  );
}
