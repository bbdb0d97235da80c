import type { Argv, CommandModule } from "yargs";
import { stringify } from "yaml";
import { CapitanError } from "../../pkg/errors/index.ts";
import { installManifests, type ProcessOptions } from "../../pkg/install/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { healthOf, idOf, nameOf, type KubeObject } from "../../pkg/object/index.ts";
import { ownVersion } from "../own-version.ts";
import { hubOptions, resourceOf, withHub } from "./hub.ts";
import { repeatable } from "./repeatable.ts";

/** By this name an API server tells what commands have set up. */
const manager = "capitan-install";
const establishedMs = 30_000;
const namePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const addressPattern = /^https?:\/\/[^\s@]+$/;

type InstallArguments = {
  readonly kubeconfig?: string | undefined;
  readonly image?: string | undefined;
  readonly "platform-namespace": readonly string[];
  readonly replicas: number;
  readonly "events-addr"?: string | undefined;
  readonly "default-service-account"?: string | undefined;
  readonly export: boolean;
};

/** `capitan install` */
export const install: CommandModule<object, InstallArguments> = {
  command: "install",
  describe: "Install Capitan on the hub: CRDs, rights, controller; safe to repeat, the upgrade too",
  builder,
  handler: async (args) => {
    const options = await processOptions(args);
    if (args.export) process.stdout.write(exported(installManifests(options)));
    else await withHub(args.kubeconfig, (hub) => applyAll(hub, installManifests(options)));
    if (args.image === undefined)
      process.stderr.write(
        `► image ${options.image}: the nodes must have it already; --image names another\n`,
      );
  },
};

function builder(y: Argv) {
  return repeatable(y, "platform-namespace")
    .options({
      ...hubOptions,
      export: {
        type: "boolean",
        default: false,
        describe: "Print the manifests as YAML, for Git, instead of applying them",
      },
      image: { type: "string", describe: "The controller's image, with tag or digest" },
      "platform-namespace": {
        type: "string",
        array: true,
        default: ["fleet"],
        describe: "Namespace of Clusters and Fleets; repeatable",
      },
      replicas: { type: "number", default: 2, describe: "Pods; one leads, the others wait" },
      "default-service-account": {
        type: "string",
        describe:
          "What Fleets outside the platform namespaces act as that name no ServiceAccount; without it they are refused",
      },
      "events-addr": {
        type: "string",
        describe: "Where Flux's notification-controller listens: events are sent there too",
      },
    })
    .check((args) => wrongArgument(args) ?? true);
}

function wrongArgument(args: InstallArguments): string | undefined {
  const { "platform-namespace": namespaces, "default-service-account": account = "x" } = args;
  const wrongName = [...namespaces, account].find((name) => !namePattern.test(name));
  if (wrongName !== undefined) return `${wrongName} is no name of a namespace or ServiceAccount`;
  if (!Number.isInteger(args.replicas) || args.replicas < 1)
    return "--replicas must be a positive number";
  if (args.image === "" || /\s/.test(args.image ?? "")) return "--image is no image's name";
  if (args["events-addr"] !== undefined && !addressPattern.test(args["events-addr"]))
    return "--events-addr must be an http or https URL without credentials";
  return undefined;
}

async function processOptions(args: InstallArguments): Promise<ProcessOptions> {
  return {
    image: args.image ?? `capitan:${await ownVersion()}`,
    // In a fixed order, so that the same command always prints the same text.
    platformNamespaces: [...new Set(args["platform-namespace"])].sort(),
    replicas: args.replicas,
    eventsAddress: args["events-addr"],
    defaultServiceAccount: args["default-service-account"],
  };
}

/** Manifests as they are kept in Git. */
export function exported(objects: readonly KubeObject[]): string {
  const options = { aliasDuplicateObjects: false, lineWidth: 0 };
  return objects.map((object) => `---\n${stringify(object, options)}`).join("");
}

/** Applies objects in their order, saying what becomes of each, and waits for CRDs. */
export async function applyAll(hub: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  const discovery = new Discovery(hub);
  for (const object of objects) {
    const resource = await resourceOf(discovery, object);
    const { created } = await hub.apply(resource, object, { manager });
    process.stdout.write(`${nameOf(idOf(object))} ${created ? "created" : "applied"}\n`);
  }
  await established(hub, discovery, objects);
}

async function established(
  hub: KubeClient,
  discovery: Discovery,
  objects: readonly KubeObject[],
): Promise<void> {
  const definitions = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
  const deadline = performance.now() + establishedMs;
  for (const definition of definitions) {
    const resource = await resourceOf(discovery, definition);
    const live = () => hub.get(resource, definition.metadata);
    for (let object = await live(); !isCurrent(object); object = await live()) {
      if (performance.now() > deadline)
        throw new CapitanError(
          "HealthTimeout",
          `${nameOf(idOf(definition))} is not established after ${establishedMs / 1000} s`,
        );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const isCurrent = (object: KubeObject | undefined) =>
  object !== undefined && healthOf(object).state === "Current";
