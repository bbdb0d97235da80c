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
import { foundTable, printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly "artifact-type"?: string | undefined;
  readonly output: string;
};

/** `capitan discover artifact oci://HOST/REPOSITORY:TAG` */
export const discoverArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url>",
  describe: "List what refers to an artifact: signatures, SBOMs, attestations",
  builder: (y) =>
    y.positional("url", urlOption).options({
      "artifact-type": { type: "string", describe: "Only referrers of this artifact type" },
      ...registryOptions,
      ...outputOptions,
    }),
  handler: discover,
};

async function discover(args: Arguments): Promise<void> {
  const reference = parseReference(args.url);
  const referrers = await withRegistry(reference, args, async (registry) => {
    const digest = reference.digest ?? (await registry.resolve(whichOf(reference)));
    return registry.discover(digest, args["artifact-type"]);
  });
  const rows = () =>
    referrers.map(({ digest, artifactType, size }) => [digest, artifactType ?? "-", `${size}`]);
  process.stdout.write(
    printed(referrers, args.output, () =>
      foundTable("referrers", ["digest", "artifact type", "bytes"], rows()),
    ),
  );
}
