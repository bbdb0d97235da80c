import type { CommandModule } from "yargs";
import { parseReference } from "../../pkg/oci/index.ts";
import type { RegistryClient } from "../../pkg/registry/index.ts";
import { progress } from "./progress.ts";
import {
  outputOptions,
  registryOptions,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { printed, table } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly all: boolean;
  readonly output: string;
};

/** How many manifests are asked for at once. */
const atOnce = 8;

/** `capitan list artifacts oci://HOST/REPOSITORY` */
export const listArtifacts: CommandModule<object, Arguments> = {
  command: "artifacts <url>",
  aliases: ["artifact"],
  describe: "List the tags of a repository with what they are",
  builder: (y) =>
    y
      .positional("url", {
        type: "string",
        demandOption: true,
        describe: "oci://HOST[:PORT]/REPOSITORY",
      })
      .options({
        all: {
          type: "boolean",
          default: false,
          describe: "Signatures, attestations, SBOMs and lists of referrers as well",
        },
        ...registryOptions,
        ...outputOptions,
      }),
  handler: list,
};

async function list(args: Arguments): Promise<void> {
  const rows = await withRegistry(parseReference(args.url), args, async (registry) => {
    const tags = (await registry.tags()).filter((tag) => args.all || !isAttached(tag));
    // Descending by text, as Flux lists them.
    const sorted = [...tags].sort((a, b) => (a > b ? -1 : 1));
    const found = [];
    for (let i = 0; i < sorted.length; i += atOnce) {
      progress(`reading ${Math.min(i + atOnce, sorted.length)} of ${sorted.length} tags`);
      const some = sorted.slice(i, i + atOnce);
      found.push(...(await Promise.all(some.map((tag) => describe(registry, tag)))));
    }
    return found;
  });
  process.stdout.write(
    printed(rows, args.output, () =>
      table(
        ["tag", "digest", "created", "revision", "source"],
        rows.map(({ tag, digest, created, revision, source }) => [
          tag,
          digest,
          created ?? "-",
          revision ?? "-",
          source ?? "-",
        ]),
      ),
    ),
  );
}

/** What cosign and the referrers tag schema put beside artifacts. */
const isAttached = (tag: string) =>
  /\.(?:sig|att|sbom)$/.test(tag) || /^sha256-[a-f0-9]{64}$/.test(tag);

async function describe(registry: RegistryClient, tag: string) {
  const { digest, document } = await registry.find(tag);
  const image = (name: string) => document.annotations[`org.opencontainers.image.${name}`];
  const [created, revision, source] = [image("created"), image("revision"), image("source")];
  const url = `oci://${registry.name}:${tag}`;
  return { url, tag, digest, kind: document.kind, created, revision, source };
}
