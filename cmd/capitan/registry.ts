import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Options } from "yargs";
import {
  helperFor,
  parseHelperReply,
  parsePersonalDockerConfig,
  withLogin,
  type DockerConfig,
  type Helper,
  type Login,
} from "../../pkg/distribution/index.ts";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import type { BlobCache, Reference } from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";

const helperTimeoutMs = 30_000;
const helperBytesMax = 1024 * 1024;

/** Options of every command that talks to a registry. */
export const registryOptions = {
  insecure: {
    type: "boolean",
    describe: "Plain HTTP; the default on loopback without --ca-file",
  },
  "ca-file": { type: "string", describe: "PEM file of the registry's CA" },
} as const satisfies Record<string, Options>;

/** The form of the output. */
export const outputOptions = {
  output: {
    alias: "o",
    choices: ["table", "json", "yaml"],
    default: "table",
    describe: "Form of the output",
  },
} as const satisfies Record<string, Options>;

/** The address of an artifact, as the first word after the noun. */
export const urlOption = {
  type: "string",
  demandOption: true,
  describe: "oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST], tag latest when not set",
} as const satisfies Options;

export type RegistryArguments = {
  readonly insecure?: boolean | undefined;
  readonly "ca-file"?: string | undefined;
};

/** Runs `work` with a client of a repository, logged in as the person's docker config says. */
export async function withRegistry<T>(
  reference: Reference,
  { insecure, "ca-file": caFile }: RegistryArguments,
  work: (registry: RegistryClient) => Promise<T>,
): Promise<T> {
  const ca = caFile === undefined ? undefined : await readCa(caFile);
  const login = await loginsFor(reference.host);
  const registry = new RegistryClient(reference, { insecure, ca, login });
  try {
    return await work(registry);
  } finally {
    await registry.close();
  }
}

/** For one pull: nothing is kept. */
export const noCache: BlobCache = {
  get: () => Promise.resolve(undefined),
  put: () => Promise.resolve(),
};

/** The tag or digest that is meant: the digest wins, latest when neither is named. */
export const whichOf = ({ digest, tag = "latest" }: Reference) => digest ?? tag;

async function readCa(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    throw new CapitanError("FileInvalid", `cannot read the CA: ${messageOf(error)}`);
  });
}

/** What the person's own docker config knows about a host; a helper is asked first, as docker does. */
async function loginsFor(host: string): Promise<DockerConfig | undefined> {
  const file = join(process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker"), "config.json");
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const config = parsePersonalDockerConfig(text, file);
  const helper = helperFor(config, host);
  const login = helper === undefined ? undefined : await askHelper(helper);
  return login === undefined ? config.logins : withLogin(config.logins, host, login);
}

/** Runs a credential helper, docker's protocol: the server on stdin, a login on stdout. What it prints is never shown. */
async function askHelper({ program, server }: Helper): Promise<Login | undefined> {
  const child = spawn(program, ["get"], {
    stdio: ["pipe", "pipe", "ignore"],
    signal: AbortSignal.timeout(helperTimeoutMs),
  });
  let output = "";
  child.stdout.on("data", (data: Buffer) => {
    output += data.toString();
    if (output.length > helperBytesMax) child.kill();
  });
  // A helper that does not read what it is asked is its own problem.
  child.stdin.on("error", () => undefined);
  child.stdin.end(server);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", (error) => reject(helperFailed(program, messageOf(error))));
  });
  if (code === 0) return parseHelperReply(output, program);
  // docker-credential-helpers has no other way to say so.
  if (/credentials not found/i.test(output)) return undefined;
  throw helperFailed(program, `exit code ${code ?? "none"}`);
}

const helperFailed = (program: string, why: string) =>
  new CapitanError("RegistryDenied", `the credential helper ${program} of docker's config: ${why}`);
