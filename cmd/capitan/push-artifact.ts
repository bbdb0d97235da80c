import { readFile, readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import type { CommandModule } from "yargs";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import {
  parseDockerConfig,
  parseReference,
  type ArtifactFile,
  type ArtifactFiles,
  type DockerConfig,
} from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import { ignoredByPush } from "./ignored-by-push.ts";
import { formatted } from "./text.ts";

type Arguments = {
  readonly url: string;
  readonly path: string;
  readonly source?: string | undefined;
  readonly revision?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly reproducible: boolean;
  readonly "ca-file"?: string | undefined;
  readonly output: string;
};

/** `capitan push artifact oci://HOST/REPOSITORY:TAG --path DIR` */
export const pushArtifact: CommandModule<object, Arguments> = {
  command: "artifact <url>",
  describe: "Push a directory of manifests as an OCI artifact in Flux's format",
  builder: (y) =>
    y
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
        insecure: {
          type: "boolean",
          describe: "Plain HTTP; the default on loopback without --ca-file",
        },
        reproducible: {
          type: "boolean",
          default: false,
          describe: "No creation time: the same files give the same digest",
        },
        "ca-file": { type: "string", describe: "PEM file of the registry's CA" },
        output: {
          alias: "o",
          choices: ["table", "json", "yaml"],
          default: "table",
          describe: "Form of the output",
        },
      })
      .example(
        "$0 push artifact oci://registry.example/config:stable --path ./config",
        "Credentials come from docker's config.json",
      ),
  handler: push,
};

async function push(args: Arguments): Promise<void> {
  const reference = parseReference(args.url);
  if (reference.digest !== undefined)
    throw new CapitanError("RefInvalid", "push to a tag, not to a digest");
  const files = await readFiles(args.path);
  if (files.size === 0)
    throw new CapitanError("ManifestInvalid", `${args.path} contains no file to push`);
  const caFile = args["ca-file"];
  const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
  const registry = new RegistryClient(reference, {
    insecure: args.insecure,
    ca,
    login: await dockerConfig(),
  });
  try {
    const pushed = await registry.push(files, reference.tag ?? "latest", annotationsOf(args));
    const result = { url: `oci://${pushed.repository}@${pushed.digest}`, ...pushed };
    process.stdout.write(
      args.output === "table"
        ? `${result.url}\n`
        : formatted(result, args.output as "json" | "yaml"),
    );
  } finally {
    await registry.close();
  }
}

function annotationsOf({ source, revision, reproducible }: Arguments): Record<string, string> {
  const created = (reproducible ? new Date(0) : new Date()).toISOString().replace(/\.\d+/, "");
  return {
    "org.opencontainers.image.created": created,
    ...(source === undefined ? {} : { "org.opencontainers.image.source": source }),
    ...(revision === undefined ? {} : { "org.opencontainers.image.revision": revision }),
  };
}

/** Regular files below a path. Links and specials are left out, as Flux does. */
async function readFiles(path: string): Promise<ArtifactFiles> {
  const info = await stat(path).catch((error: unknown) => {
    throw new CapitanError("ManifestInvalid", `cannot read ${path}: ${messageOf(error)}`);
  });
  const read = async (file: string): Promise<ArtifactFile> => ({
    content: await readFile(file),
    executable: ((await stat(file)).mode & 0o100) !== 0,
  });
  if (info.isFile()) return new Map([[basename(path), await read(path)]]);
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name).slice(join(path).replace(/\/$/, "").length + 1),
    );
  const kept = names.filter((name) => !ignoredByPush(name)).sort();
  return new Map(
    await Promise.all(kept.map(async (name) => [name, await read(join(path, name))] as const)),
  );
}

async function dockerConfig(): Promise<DockerConfig | undefined> {
  const file = join(process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker"), "config.json");
  const text = await readFile(file, "utf8").catch(() => undefined);
  return text === undefined ? undefined : parseDockerConfig(text, file);
}
