import type { CommandModule } from "yargs";
import { copyArtifact as copyBetween, parseReference } from "../../pkg/oci/index.ts";
import { progress } from "./progress.ts";
import {
  outputOptions,
  registryOptions,
  urlOption,
  whichOf,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly from: string;
  readonly to: string;
  readonly referrers: boolean;
  readonly "from-insecure"?: boolean | undefined;
  readonly "from-ca-file"?: string | undefined;
  readonly output: string;
};

/** `capitan copy artifact oci://FROM oci://TO` */
export const copyArtifact: CommandModule<object, Arguments> = {
  command: "artifact <from> <to>",
  describe: "Copy an artifact, image or index, whole and with the same digest",
  builder: (y) =>
    y
      .positional("from", urlOption)
      .positional("to", {
        type: "string",
        demandOption: true,
        describe: "oci://HOST[:PORT]/REPOSITORY[:TAG], by default the tag that it has",
      })
      .options({
        referrers: {
          type: "boolean",
          default: false,
          describe: "What refers to it as well: signatures, SBOMs",
        },
        ...registryOptions,
        "from-insecure": { type: "boolean", describe: "--insecure for the source only" },
        "from-ca-file": { type: "string", describe: "--ca-file for the source only" },
        ...outputOptions,
      }),
  handler: copy,
};

async function copy(args: Arguments): Promise<void> {
  const [source, target] = [parseReference(args.from), parseReference(args.to)];
  const tag = target.tag ?? source.tag ?? (source.digest === undefined ? "latest" : undefined);
  const sourceAccess = {
    insecure: args["from-insecure"] ?? args.insecure,
    "ca-file": args["from-ca-file"] ?? args["ca-file"],
  };
  const { referrers } = args;
  const request = { what: whichOf(source), tag, referrers, report: progress };
  const copied = await withRegistry(source, sourceAccess, (from) =>
    withRegistry(target, args, (to) => copyBetween(from, to, request)),
  );
  const url = `oci://${target.host}/${target.repository}@${copied.digest}`;
  process.stdout.write(printed({ url, tag, ...copied }, args.output, () => `${url}\n`));
}
