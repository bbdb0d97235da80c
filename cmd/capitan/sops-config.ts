import { readFile } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import type { Options } from "yargs";
import { messageOf } from "../../pkg/errors/index.ts";
import {
  creationRuleFor,
  parseSopsConfig,
  SopsError,
  type CreationRule,
  type Layout,
  type SopsConfig,
} from "../../pkg/sops/index.ts";
import { nearestFile } from "./nearest-file.ts";

const fileName = ".sops.yaml";

/** Options of the commands that read `.sops.yaml`. */
export const configOptions = {
  config: {
    type: "string",
    describe: "The .sops.yaml; SOPS_CONFIG, or the nearest one above the working directory",
  },
} as const satisfies Record<string, Options>;

export type ConfigArguments = { readonly config?: string | undefined };

/** A `.sops.yaml` and where it is, which is what its patterns are about. */
export type FoundConfig = {
  readonly config: SopsConfig;
  readonly directory: string;
  readonly text: string;
};

/** Finds and reads `.sops.yaml` as sops does; undefined when there is none. Throws SopsConfigInvalid. */
export async function findConfig(args: ConfigArguments): Promise<FoundConfig | undefined> {
  const path = args.config ?? process.env["SOPS_CONFIG"] ?? (await nearestFile(fileName));
  if (path === undefined || path === "") return undefined;
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new SopsError("SopsConfigInvalid", 1, messageOf(error));
  });
  return { config: parseSopsConfig(text, path), directory: dirname(resolve(path)), text };
}

/** The rule for a file. Throws SopsConfigInvalid when no `.sops.yaml` has one. */
export function ruleFor(found: FoundConfig | undefined, path: string): CreationRule {
  if (found === undefined)
    throw new SopsError("SopsConfigInvalid", 1, `no ${fileName} above the working directory`);
  const below = relative(found.directory, resolve(path));
  const isBelow = below !== ".." && !below.startsWith(`..${sep}`);
  return creationRuleFor(found.config, isBelow ? below : resolve(path));
}

/** The rule for a file; undefined when none names it. */
export function ruleIfAny(found: FoundConfig | undefined, path: string): CreationRule | undefined {
  try {
    return ruleFor(found, path);
  } catch (error) {
    if (error instanceof SopsError) return undefined;
    throw error;
  }
}

/** How files are to be laid out. */
export const layoutOf = (found: FoundConfig | undefined): Layout => found?.config.layout ?? {};
