import type { Options } from "yargs";
import { open, readFile, rm } from "node:fs/promises";
import { hubResources } from "../../pkg/api/index.ts";
import {
  identitySecret,
  isPostQuantum,
  managerKeys,
  newestActive,
  type AgeGeneration,
  type ManagerKeys,
} from "../../pkg/controllers/index.ts";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { ApiError, Discovery, isConflict, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject } from "../../pkg/object/index.ts";
import { newIdentity, parseIdentities, type NewIdentity } from "../../pkg/sops/index.ts";
import { resourceOf } from "./hub.ts";
import { hubSecrets } from "./means.ts";
import { chance } from "./secret-keys.ts";

/** The Secret of the manager's identity, in each platform namespace. */
export const managerSecret = "manager-key";
const dataKey = "manager.agekey";
const hubTimeoutMs = 60_000;

/** Which manager is meant. */
export const managerOptions = {
  "manager-secret": {
    type: "string",
    default: managerSecret,
    describe: "Secret with the manager's first identity, of: capitan init keys",
  },
} as const satisfies Record<string, Options>;

/** A new identity, and the text of its file. */
type ManagerKey = { readonly recipient: string; readonly file: string };

/** The namespace of the Secret, and the file of the offline copy. */
type Place = { readonly namespace: string; readonly out: string };

export async function newManagerKey(isPostQuantum: boolean): Promise<ManagerKey> {
  const made = await newIdentity(isPostQuantum, chance.random);
  return { recipient: made.recipient, file: fileText(made) };
}

/** The manager's identities that the hub has, if it has some. Throws SecretInvalid, IdentityInvalid. */
export async function managerKeysOf(
  hub: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<ManagerKeys | undefined> {
  const signal = AbortSignal.timeout(hubTimeoutMs);
  try {
    return await managerKeys(hubSecrets(hub), { namespace, as: undefined }, name, signal);
  } catch (error) {
    if (isCapitanError(error) && error.code === "SecretNotFound") return undefined;
    throw error;
  }
}

/** The manager's identity, where it is from, and how to bring it to where it is not yet. */
export type FoundKey = {
  /** To whom one encrypts now. */
  readonly recipient: string;
  /** All that the hub opens files with: in a rotation there is more than one. */
  readonly recipients: readonly string[];
  readonly from: "hub" | "copy" | "new";
  readonly store: () => Promise<void>;
};

/** The manager's identity as the hub has it, else as the offline copy has it. Throws IdentityInvalid. */
export async function findManagerKey(hub: KubeClient, place: Place): Promise<FoundKey | undefined> {
  const keys = await managerKeysOf(hub, { namespace: place.namespace, name: managerSecret });
  const [newest] = keys === undefined ? [] : newestActive(keys);
  if (keys !== undefined && newest !== undefined) {
    const used = keys.generations.filter(({ state }) => state !== "retired");
    const recipients = used.map(({ identity }) => identity.recipient);
    const { recipient } = newest.identity;
    return { recipient, recipients, from: "hub", store: () => Promise.resolve() };
  }
  const copy = await readFile(place.out, "utf8").catch(() => undefined);
  if (copy === undefined) return undefined;
  const [identity] = await parseIdentities(copy, place.out);
  if (identity === undefined) return undefined;
  const secret = secretOf(place.namespace, copy, identity.recipient);
  const store = async () => void (await hub.create(hubResources.secret, secret, {}));
  const { recipient } = identity;
  return { recipient, recipients: [recipient], from: "copy", store };
}

/** A new one. */
export async function freshManagerKey(hub: KubeClient, place: Place): Promise<FoundKey> {
  const made = await newManagerKey(false);
  const store = () => storeManagerKey(hub, place, made);
  const { recipient } = made;
  return { recipient, recipients: [recipient], from: "new", store };
}

/** Creates the Secret of the first one. Throws AlreadyExists, FileInvalid. */
export const storeManagerKey = (
  hub: KubeClient,
  { namespace, out }: Place,
  { file, recipient }: ManagerKey,
): Promise<void> => storeKey(hub, { secret: secretOf(namespace, file, recipient), out, file });

/** Creates the Secret of the one that follows the newest, of the same kind, which files need not name yet. Throws AlreadyExists, FileInvalid. */
export async function storeNextKey(
  hub: KubeClient,
  { out, ...holder }: Place & { readonly name: string },
  { generation, identity: { recipient } }: AgeGeneration,
): Promise<void> {
  const made = await newIdentity(isPostQuantum(recipient), chance.random);
  const created = chance.now();
  const secret = identitySecret({ ...holder, isManager: true }, generation + 1, {
    ...made,
    created,
  });
  await storeKey(hub, { secret, out, file: fileText(made) });
}

/** The copy is there first, and goes again only when the hub has said that it did not take the key. */
async function storeKey(
  hub: KubeClient,
  {
    secret,
    out,
    file,
  }: { readonly secret: KubeObject; readonly out: string; readonly file: string },
): Promise<void> {
  const resource = await resourceOf(new Discovery(hub), secret);
  await writeOnce(out, file);
  try {
    await hub.create(resource, secret, {});
  } catch (error) {
    if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500) throw error;
    await rm(out, { force: true });
    if (!isConflict(error)) throw error;
    const { namespace = "", name } = secret.metadata;
    const what = `Secret ${namespace}/${name} is there already; it was not changed`;
    throw new CapitanError("AlreadyExists", what, { cause: error });
  }
}

function fileText({ recipient, identity }: NewIdentity): string {
  const made = chance.now().toISOString().replace(/\.\d+/, "");
  return `# created: ${made}\n# public key: ${recipient}\n${identity}\n`;
}

/** A file that nobody else may read, and that must not exist. Throws FileInvalid. */
export async function writeOnce(path: string, text: string): Promise<void> {
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
      name: managerSecret,
      namespace,
      labels: { "clusterctl.cluster.x-k8s.io/move": "" },
      annotations: { [annotations.recipient]: recipient },
    },
    data: { [dataKey]: Buffer.from(text).toString("base64") },
  };
}
