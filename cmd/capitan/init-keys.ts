import { open, rm } from "node:fs/promises";
import type { CommandModule } from "yargs";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import { ApiError, Discovery, isConflict, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject } from "../../pkg/object/index.ts";
import {
  generateIdentity,
  generatePostQuantumIdentity,
  type NewIdentity,
} from "../../pkg/sops/index.ts";
import { hubOptions, resourceOf, withHub } from "./hub.ts";
import { chance } from "./secret-keys.ts";
import { outputOption, printed } from "./text.ts";

type Arguments = {
  readonly kubeconfig?: string | undefined;
  readonly namespace: string;
  readonly out: string;
  readonly offline: boolean;
  readonly "post-quantum": boolean;
  readonly output: string;
};

const secretName = "manager-key";

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
  const made = args["post-quantum"]
    ? await generatePostQuantumIdentity()
    : generateIdentity(chance.random);
  const file = fileText(made);
  if (args.offline) await writeOnce(args.out, file);
  else await withHub(args.kubeconfig, (hub) => store(hub, args, { ...made, file }));
  const result = {
    recipient: made.recipient,
    file: args.out,
    ...(args.offline ? {} : { secret: `${args.namespace}/${secretName}` }),
  };
  process.stdout.write(printed(result, args.output, () => `${made.recipient}\n`));
}

/** Creates the Secret. The copy goes again only when the hub has said that it did not take the key. */
async function store(
  hub: KubeClient,
  { namespace, out }: Arguments,
  { file, recipient }: NewIdentity & { readonly file: string },
): Promise<void> {
  const secret = secretOf(namespace, file, recipient);
  const resource = await resourceOf(new Discovery(hub), secret);
  await writeOnce(out, file);
  try {
    await hub.create(resource, secret, {});
  } catch (error) {
    if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500) throw error;
    await rm(out, { force: true });
    if (!isConflict(error)) throw error;
    const what = `Secret ${namespace}/${secretName} is there already; it was not changed`;
    throw new CapitanError("AlreadyExists", what, { cause: error });
  }
}

function fileText({ recipient, identity }: NewIdentity): string {
  const made = chance.now().toISOString().replace(/\.\d+/, "");
  return `# created: ${made}\n# public key: ${recipient}\n${identity}\n`;
}

async function writeOnce(path: string, text: string): Promise<void> {
  try {
    const handle = await open(path, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new CapitanError("FileInvalid", messageOf(error), { cause: error });
  }
}

function secretOf(namespace: string, text: string, recipient: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    immutable: true,
    metadata: {
      name: secretName,
      namespace,
      labels: { "clusterctl.cluster.x-k8s.io/move": "" },
      annotations: { [annotations.recipient]: recipient },
    },
    data: { "manager.agekey": Buffer.from(text).toString("base64") },
  };
}
