import type { CommandModule } from "yargs";
import { parseReference } from "../../pkg/oci/index.ts";
import {
  outputOptions,
  registryOptions,
  urlOption,
  whichOf,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { repeatable } from "./repeatable.ts";
import { printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly tag: string[];
  readonly output: string;
};

/** `capitan tag artifact oci://HOST/REPOSITORY:TAG --tag NAME` */
export const tagArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url>",
  describe: "Give an artifact further tags",
  builder: (y) =>
    repeatable(y, "tag")
      .positional("url", urlOption)
      .options({
        tag: {
          type: "string",
          array: true,
          nargs: 1,
          demandOption: true,
          describe: "Tag to set; may be repeated",
        },
        ...registryOptions,
        ...outputOptions,
      })
      .check(({ tag }) => {
        const wrong = tag.find((name) => !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name));
        return wrong === undefined ? true : `--tag ${wrong} is not a tag`;
      }),
  handler: tag,
};

async function tag(args: Arguments): Promise<void> {
  const reference = parseReference(args.url);
  const result = await withRegistry(reference, args, async (registry) => {
    const digest = reference.digest ?? (await registry.resolve(whichOf(reference)));
    for (const name of args.tag) await registry.tag(digest, name);
    return { repository: registry.name, digest, tags: args.tag };
  });
  const lines = result.tags.map((name) => `oci://${result.repository}:${name}\n`);
  process.stdout.write(printed(result, args.output, () => lines.join("")));
}
