import type { Argv, CommandModule, Options } from "yargs";
import {
  installManifests,
  tokenSecretsDefault,
  type InstallOptions,
} from "../../pkg/install/index.ts";
import { ownVersion } from "../own-version.ts";
import { applyManifests, manifestText, toldPlainly } from "./apply-manifests.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { repeatable } from "./repeatable.ts";

const namePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const addressPattern = /^https?:\/\/[^\s@]+$/;

export type ProcessArguments = {
  readonly image?: string | undefined;
  readonly "platform-namespace": readonly string[];
  readonly replicas: number;
  readonly management: boolean;
  readonly "events-addr"?: string | undefined;
  readonly "default-service-account"?: string | undefined;
  readonly receiver: boolean;
  readonly "receiver-token": readonly string[];
};

type InstallArguments = ProcessArguments &
  HubArguments & {
    readonly export: boolean;
  };

/** `capitan install` */
export const install: CommandModule<object, InstallArguments> = {
  command: "install",
  describe: "Install Capitan on the hub: CRDs, rights, controller; safe to repeat, the upgrade too",
  builder,
  handler: async (args) => {
    const options = await installOptions(args);
    const objects = installManifests(options);
    if (args.export) process.stdout.write(manifestText(objects));
    else await withHub(args, (hub) => applyManifests(hub, objects, toldPlainly));
    if (args.image === undefined)
      process.stderr.write(
        `► image ${options.image}: the nodes must have it already; --image names another\n`,
      );
  },
};

/** What the controller's process is like. */
export const processFlags = {
  image: { type: "string", describe: "The controller's image, with tag or digest" },
  replicas: { type: "number", default: 2, describe: "Pods; one leads, the others wait" },
  "events-addr": {
    type: "string",
    describe: "Where Flux's notification-controller listens: events are sent there too",
  },
  "default-service-account": {
    type: "string",
    describe:
      "What Fleets outside the platform namespaces act as that name no ServiceAccount; without it they are refused",
  },
  receiver: {
    type: "boolean",
    default: true,
    describe: "The receiver too, which wakes up Fleets on a push; --no-receiver leaves it out",
  },
  "receiver-token": {
    type: "string",
    array: true,
    default: tokenSecretsDefault,
    describe:
      "Secret that Receivers may name as secretRef; the receiver reads no other; repeatable",
  },
} as const satisfies Record<string, Options>;

function builder(y: Argv) {
  return repeatable(y, "platform-namespace", "receiver-token")
    .options({
      ...hubOptions,
      export: {
        type: "boolean",
        default: false,
        describe: "Print the manifests as YAML, for Git, instead of applying them",
      },
      "platform-namespace": {
        type: "string",
        array: true,
        default: ["fleet"],
        describe: "Namespace of Clusters and Fleets; repeatable",
      },
      management: {
        type: "boolean",
        default: false,
        describe: "Grant what Fleets with target: Management need to deliver to the hub itself",
      },
      ...processFlags,
    })
    .check((args) => wrongArgument(args) ?? true);
}

export function wrongArgument(args: ProcessArguments): string | undefined {
  return wrongName(args) ?? wrongProcess(args);
}

function wrongName(args: ProcessArguments): string | undefined {
  const { "platform-namespace": namespaces, "default-service-account": account = "x" } = args;
  const isWrong = (name: string) => !namePattern.test(name);
  const name = [...namespaces, account].find(isWrong);
  if (name !== undefined) return `${name} is no name of a namespace or ServiceAccount`;
  const token = args["receiver-token"].find(isWrong);
  return token === undefined ? undefined : `--receiver-token ${token} is no Secret's name`;
}

function wrongProcess(args: ProcessArguments): string | undefined {
  if (!Number.isInteger(args.replicas) || args.replicas < 1)
    return "--replicas must be a positive number";
  if (args.image === "" || /\s/.test(args.image ?? "")) return "--image is no image's name";
  const { "events-addr": address = "http://unset" } = args;
  if (!addressPattern.test(address))
    return "--events-addr must be an http or https URL without credentials";
  return undefined;
}

export async function installOptions(args: ProcessArguments): Promise<InstallOptions> {
  return {
    image: args.image ?? `capitan:${await ownVersion()}`,
    // In a fixed order, so that the same command always prints the same text.
    platformNamespaces: [...new Set(args["platform-namespace"])].sort(),
    management: args.management,
    replicas: args.replicas,
    eventsAddress: args["events-addr"],
    defaultServiceAccount: args["default-service-account"],
    tokenSecrets: args.receiver ? [...new Set(args["receiver-token"])].sort() : [],
  };
}
