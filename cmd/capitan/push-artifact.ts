import type { CommandModule } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import { parseReference } from "../../pkg/oci/index.ts";
import { readFiles } from "./artifact-files.ts";
import { progress } from "./progress.ts";
import {
  outputOptions,
  registryOptions,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { repeatable } from "./repeatable.ts";
import { printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly path: string;
  readonly source?: string | undefined;
  readonly revision?: string | undefined;
  readonly annotation?: string[] | undefined;
  readonly reproducible: boolean;
  readonly output: string;
};

/** `capitan push artifact oci://HOST/REPOSITORY:TAG --path DIR` */
export const pushArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url>",
  describe: "Push a directory of manifests as an OCI artifact in Flux's format",
  builder: (y) =>
    repeatable(y, "annotation")
      .positional("url", {
        type: "string",
        demandOption: true,
        describe: "oci://HOST[:PORT]/REPOSITORY[:TAG], tag latest when not set",
      })
      .options({
        path: {
          alias: "f",
          type: "string",
          demandOption: true,
          describe: "Directory, or one file",
        },
        source: { type: "string", describe: "Where the files come from, for instance the Git URL" },
        revision: { type: "string", describe: "Which version, for instance main@sha1:<commit>" },
        annotation: {
          alias: "a",
          type: "string",
          array: true,
          nargs: 1,
          describe: "KEY=VALUE on the manifest; may be repeated",
        },
        reproducible: {
          type: "boolean",
          default: false,
          describe: "No creation time: the same files give the same digest",
        },
        ...registryOptions,
        ...outputOptions,
      })
      .check(({ annotation = [] }) => {
        const wrong = annotation.find((text) => !/^[^=]+=[^=]*$/.test(text));
        return wrong === undefined ? true : `--annotation ${wrong} is not KEY=VALUE`;
      })
      .example(
        "$0 push artifact oci://registry.example/config:stable --path ./config",
        "Credentials come from docker's config.json and its helpers",
      ),
  handler: push,
};

async function push(args: Arguments): Promise<void> {
  const reference = parseReference(args.url);
  if (reference.digest !== undefined)
    throw new CapitanError("RefInvalid", "push to a tag, not to a digest");
  const files = await readFiles(args.path);
  const tag = reference.tag ?? "latest";
  progress(`pushing ${files.size} files to ${args.url}`);
  const pushed = await withRegistry(reference, args, (registry) =>
    registry.push(files, tag, annotationsOf(args)),
  );
  const result = { url: `oci://${pushed.repository}@${pushed.digest}`, ...pushed };
  process.stdout.write(printed(result, args.output, () => `${result.url}\n`));
}

function annotationsOf(args: Arguments): Record<string, string> {
  const { source, revision, reproducible, annotation = [] } = args;
  const created = (reproducible ? new Date(0) : new Date()).toISOString().replace(/\.\d+/, "");
  return {
    "org.opencontainers.image.created": created,
    ...(source === undefined ? {} : { "org.opencontainers.image.source": source }),
    ...(revision === undefined ? {} : { "org.opencontainers.image.revision": revision }),
    ...Object.fromEntries(annotation.map((text) => text.split("=") as [string, string])),
  };
}
