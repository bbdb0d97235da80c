import type { CommandModule } from "yargs";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { managerSecret, newManagerKey, storeManagerKey, writeOnce } from "./manager-key.ts";
import { outputOption, printed } from "./text.ts";

type Arguments = HubArguments & {
  readonly namespace: string;
  readonly out: string;
  readonly offline: boolean;
  readonly "post-quantum": boolean;
  readonly output: string;
};

/** `capitan init keys` */
export const initKeys: CommandModule<object, Arguments> = {
  command: "keys",
  describe: "Make the manager's identity: an offline copy, and a Secret on the hub",
  builder: (y) =>
    y
      .options({
        ...hubOptions,
        namespace: {
          alias: "n",
          type: "string",
          default: "fleet",
          describe: "Namespace of the Secret",
        },
        out: {
          type: "string",
          default: "manager.agekey",
          describe: "File of the offline copy, which must not exist",
        },
        offline: {
          type: "boolean",
          default: false,
          describe: "Only the file; the hub is not asked",
        },
        "post-quantum": {
          type: "boolean",
          default: false,
          describe: "A key for sops 3.13 and Flux 2.9 or later; files get bigger",
        },
        ...outputOption,
      })
      .example(
        "$0 init keys",
        "Then put manager.agekey where the hub cannot lose it, and away from here",
      ),
  handler: init,
};

/** The copy is on the disk before the hub gets the key: a key that only the hub has can be lost with it. */
async function init(args: Arguments): Promise<void> {
  const made = await newManagerKey(args["post-quantum"]);
  if (args.offline) await writeOnce(args.out, made.file);
  else await withHub(args, (hub) => storeManagerKey(hub, args, made));
  const result = {
    recipient: made.recipient,
    file: args.out,
    ...(args.offline ? {} : { secret: `${args.namespace}/${managerSecret}` }),
  };
  process.stdout.write(printed(result, args.output, () => `${made.recipient}\n`));
}
