import type { CommandModule } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import { parseReference } from "../../pkg/oci/index.ts";
import {
  outputOptions,
  registryOptions,
  withRegistry,
  type RegistryArguments,
} from "./registry.ts";
import { clean, printed } from "./text.ts";

type Arguments = RegistryArguments & { readonly url: string; readonly output: string };

/** `capitan list repositories oci://HOST` */
export const listRepositories: CommandModule<object, Arguments> = {
  command: "repositories <url>",
  describe: "List the repositories of a registry, where it serves its catalog; many do not",
  builder: (y) =>
    y
      .positional("url", { type: "string", demandOption: true, describe: "oci://HOST[:PORT]" })
      .options({ ...registryOptions, ...outputOptions }),
  handler: list,
};

async function list(args: Arguments): Promise<void> {
  // The catalog belongs to no repository, but a reference has one.
  const address = args.url.replace(/\/+$/, "");
  if (!/^oci:\/\/[^/]+$/.test(address))
    throw new CapitanError("RefInvalid", `${args.url} is not oci://HOST[:PORT]`);
  const reference = parseReference(`${address}/catalog`);
  const repositories = await withRegistry(reference, args, (registry) => registry.repositories());
  const lines = repositories.map((name) => `oci://${reference.host}/${clean(name)}\n`);
  process.stdout.write(printed(repositories, args.output, () => lines.join("")));
}
