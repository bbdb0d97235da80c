import { RE2JS } from "re2js";
import type { CommandModule } from "yargs";
import { messageOf } from "../../pkg/errors/index.ts";
import { parseReference, versionsIn } from "../../pkg/oci/index.ts";
import type { RegistryClient } from "../../pkg/registry/index.ts";
import { progress } from "./progress.ts";
import {
  outputOptions,
  registryOptions,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { foundTable, printed } from "./text.ts";

type Arguments = RegistryArguments & {
  readonly url: string;
  readonly all: boolean;
  readonly semver?: string | undefined;
  readonly "filter-tags"?: string | undefined;
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
        semver: {
          type: "string",
          describe:
            "Only versions in this range, newest first: a Fleet's ref.semver takes the first",
        },
        "filter-tags": { type: "string", describe: "Only tags in which this RE2 pattern is found" },
        ...registryOptions,
        ...outputOptions,
      })
      .check(({ semver = "*" }) => {
        const isRange = versionsIn([], semver) !== undefined;
        return isRange || `--semver ${semver} is no range of versions such as ">=1.2.0 <2.0.0"`;
      })
      .check(({ "filter-tags": pattern = "" }) => wrongPattern(pattern) ?? true)
      .example(
        "$0 list artifacts oci://ghcr.io/fluxcd/flux-manifests --semver '>=2.9.0 <3.0.0'",
        "What a Fleet with this version would take, first",
      ),
  handler: list,
};

/** What is wrong with a pattern, if anything is. */
function wrongPattern(text: string): string | undefined {
  try {
    RE2JS.compile(text);
    return undefined;
  } catch (error) {
    return `--filter-tags ${text} is no pattern of RE2: ${messageOf(error)}`;
  }
}

async function list(args: Arguments): Promise<void> {
  const rows = await withRegistry(parseReference(args.url), args, async (registry) => {
    const tags = chosen(await registry.tags(), args);
    const found = [];
    for (let i = 0; i < tags.length; i += atOnce) {
      progress(`reading ${Math.min(i + atOnce, tags.length)} of ${tags.length} tags`);
      const some = tags.slice(i, i + atOnce);
      found.push(...(await Promise.all(some.map((tag) => describe(registry, tag)))));
    }
    return found;
  });
  process.stdout.write(
    printed(rows, args.output, () =>
      foundTable(
        "tags",
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

/** The tags that are asked for: versions from the highest down, others descending by text, as Flux lists them. */
function chosen(
  tags: readonly string[],
  { all, semver, "filter-tags": filter }: Arguments,
): readonly string[] {
  const pattern = filter === undefined ? undefined : RE2JS.compile(filter);
  const found = tags.filter(
    (tag) => (all || !isAttached(tag)) && pattern?.matcher(tag).find() !== false,
  );
  if (semver !== undefined) return versionsIn(found, semver) ?? [];
  return found.sort((a, b) => (a > b ? -1 : 1));
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
