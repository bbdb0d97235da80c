import type { Options } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import { ApiError, withoutManagedFields, type KubeClient } from "../../pkg/kube/index.ts";
import { type Resource } from "../../pkg/object/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { formatted, table, type Format } from "./text.ts";
import { WrongUsage } from "./usage.ts";

/** Options of every `get` command. */
export const listingOptions = {
  ...hubOptions,
  namespace: { alias: "n", type: "string", describe: "Only this namespace; all when not set" },
  selector: { alias: "l", type: "string", describe: "Label selector" },
  output: {
    alias: "o",
    choices: ["table", "wide", "json", "yaml"],
    default: "table",
    describe: "Form of the output",
  },
} as const satisfies Record<string, Options>;

export type ListingArguments = HubArguments & {
  readonly namespace?: string | undefined;
  readonly selector?: string | undefined;
  readonly output: string;
};

export type Listing<T> = {
  readonly resource: Resource;
  readonly headers: readonly string[];
  readonly row: (item: T, now: Date) => readonly string[];
  /** More columns for `-o wide`. */
  readonly wide?: {
    readonly headers: readonly string[];
    readonly row: (item: T) => readonly string[];
  };
};

/** Lists a kind and prints it. */
export async function printListing<T>(listing: Listing<T>, args: ListingArguments): Promise<void> {
  const items = await withHub(args, (hub) => listOf(hub, listing.resource, args));
  printItems(items as readonly T[], listing, args);
}

/** Prints what was listed: a table, or the whole objects. */
export function printItems<T>(
  items: readonly T[],
  { resource, headers, row, wide }: Listing<T>,
  { output, namespace }: ListingArguments,
): void {
  const format = output as Format;
  if (format === "json" || format === "yaml") {
    process.stdout.write(formatted(items, format));
    return;
  }
  if (items.length === 0) {
    process.stderr.write(`no ${resource.plural}${inNamespace(namespace)}\n`);
    return;
  }
  const now = new Date();
  const more = format === "wide" ? (wide ?? { headers: [], row: () => [] }) : undefined;
  const all = [...headers, ...(more?.headers ?? [])];
  const rows = items.map((item) => [...row(item, now), ...(more?.row(item) ?? [])]);
  // Whoever asks for everything wants no cell cut.
  process.stdout.write(table(all, rows, format === "wide" ? 0 : undefined));
}

/** Where was looked, for who looked in one namespace only. */
export const inNamespace = (namespace: string | undefined): string =>
  namespace === undefined ? "" : ` in namespace ${namespace}`;

/** All objects of a kind, sorted by namespace and name. Throws NotFound when Capitan is not installed, and WrongUsage. */
export async function listOf(
  hub: KubeClient,
  resource: Resource,
  { namespace, selector }: { namespace?: string | undefined; selector?: string | undefined },
): Promise<readonly KubeObject[]> {
  try {
    const { items } = await hub.list(resource, { namespace, labelSelector: selector });
    const key = ({ metadata }: KubeObject) => `${metadata.namespace ?? ""}/${metadata.name}`;
    return [...items].sort((a, b) => (key(a) < key(b) ? -1 : 1)).map(withoutManagedFields);
  } catch (error) {
    if (selector !== undefined && error instanceof ApiError && error.status === 400)
      throw new WrongUsage(`--selector ${selector}: ${error.detail}`);
    if (error instanceof ApiError && error.status === 404)
      throw new CapitanError(
        "NotFound",
        `the hub does not serve ${resource.plural}.${resource.group}: run capitan install first`,
        { cause: error },
      );
    throw error;
  }
}
