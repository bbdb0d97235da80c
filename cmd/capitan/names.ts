import { clusterResource } from "../../pkg/capi/index.ts";
import { hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { hubContexts, type KubeClient } from "../../pkg/kube/index.ts";
import { withHub } from "./hub.ts";
import { listOf } from "./listing.ts";

/** Names on the hub that people name in commands: by the noun of the command, and by the option. */
const sources: Readonly<Record<string, (hub: KubeClient) => Promise<readonly string[]>>> = {
  fleet: async (hub) => (await listOf(hub, hubResources.fleet, {})).map(nameOf),
  member: async (hub) =>
    (await listOf(hub, hubResources.fleetMember, {})).map(
      (member) => (member as unknown as FleetMember).spec.clusterRef.name,
    ),
  cluster: async (hub) => (await listOf(hub, clusterResource, {})).map(nameOf),
};

const nameOf = ({ metadata }: { readonly metadata: { readonly name: string } }) => metadata.name;

/** Verbs that take the name of something that is there. `create cluster` names what is not. */
const verbs = new Set([
  "adopt",
  "approve",
  "delete",
  "describe",
  "diff",
  "plan",
  "reconcile",
  "render",
  "resume",
  "suspend",
  "tree",
  "upgrade",
]);

/** As a shell asks, whatever script it has of `capitan completion`. */
const question = "--get-yargs-completions";

/**
 * The names that a shell asks for with these arguments of capitan; undefined when it asks for no name,
 * but for verbs or options, which the parser knows. Whatever is in the way of the hub: none, quietly.
 */
export async function namesAskedFor(
  args: readonly string[],
): Promise<readonly string[] | undefined> {
  if (args[0] !== question) return undefined;
  const words = args.slice(2);
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const noun = nounAsked(before);
  const list = sources[noun ?? ""];
  if ((list === undefined && noun !== "context") || current.startsWith("-")) return undefined;
  const hub = { kubeconfig: valueOf("kubeconfig", before), context: valueOf("context", before) };
  try {
    const names = await (list === undefined ? hubContexts(process.env, hub) : withHub(hub, list));
    return [...new Set(names)].filter((name) => name.startsWith(current)).sort();
  } catch {
    return [];
  }
}

function nounAsked(before: readonly string[]): string | undefined {
  const option = /^--(fleet|cluster|context)$/.exec(before.at(-1) ?? "")?.[1];
  if (option !== undefined) return option;
  const [verb = "", noun, ...more] = before;
  return withoutHub(more).length === 0 && verbs.has(verb) ? noun : undefined;
}

/** What an option of a line that is still being typed says. */
function valueOf(option: string, words: readonly string[]): string | undefined {
  const at = words.lastIndexOf(`--${option}`);
  return at < 0 ? undefined : words[at + 1];
}

/** Words without those that say which hub. */
const withoutHub = (words: readonly string[]): readonly string[] =>
  words.filter((word, i) => !hubOption.test(word) && !hubOption.test(words[i - 1] ?? ""));

const hubOption = /^--(kubeconfig|context)$/;
