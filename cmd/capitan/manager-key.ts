import { open, readFile, rm } from "node:fs/promises";
import { hubResources } from "../../pkg/api/index.ts";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { ApiError, Discovery, isConflict, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject } from "../../pkg/object/index.ts";
import {
  generateIdentity,
  generatePostQuantumIdentity,
  parseIdentities,
  type NewIdentity,
} from "../../pkg/sops/index.ts";
import { resourceOf } from "./hub.ts";
import { chance } from "./secret-keys.ts";

/** The Secret of the manager's identity, in each platform namespace. */
export const managerSecret = "manager-key";
const dataKey = "manager.agekey";

/** A new identity, and the text of its file. */
type ManagerKey = { readonly recipient: string; readonly file: string };

/** The namespace of the Secret, and the file of the offline copy. */
type Place = { readonly namespace: string; readonly out: string };

export async function newManagerKey(isPostQuantum: boolean): Promise<ManagerKey> {
  const made = isPostQuantum
    ? await generatePostQuantumIdentity()
    : generateIdentity(chance.random);
  return { recipient: made.recipient, file: fileText(made) };
}

/** The recipient of the manager's identity that the hub has, if it has one. Throws IdentityInvalid. */
export async function managerRecipient(
  hub: KubeClient,
  namespace: string,
): Promise<string | undefined> {
  const name = { namespace, name: managerSecret };
  const secret = await hub.get(hubResources.secret, name);
  if (secret === undefined) return undefined;
  const text = Buffer.from(asString(asMap(secret["data"])[dataKey]) ?? "", "base64").toString();
  const [identity] = await parseIdentities(text, `Secret ${namespace}/${managerSecret}`);
  return identity?.recipient;
}

/** The manager's identity, where it is from, and how to bring it to where it is not yet. */
export type FoundKey = {
  readonly recipient: string;
  readonly from: "hub" | "copy" | "new";
  readonly store: () => Promise<void>;
};

/** The manager's identity as the hub has it, else as the offline copy has it. Throws IdentityInvalid. */
export async function findManagerKey(hub: KubeClient, place: Place): Promise<FoundKey | undefined> {
  const known = await managerRecipient(hub, place.namespace);
  if (known !== undefined) return { recipient: known, from: "hub", store: () => Promise.resolve() };
  const copy = await readFile(place.out, "utf8").catch(() => undefined);
  if (copy === undefined) return undefined;
  const [identity] = await parseIdentities(copy, place.out);
  if (identity === undefined) return undefined;
  const secret = secretOf(place.namespace, copy, identity.recipient);
  const store = async () => void (await hub.create(hubResources.secret, secret, {}));
  return { recipient: identity.recipient, from: "copy", store };
}

/** A new one. */
export async function freshManagerKey(hub: KubeClient, place: Place): Promise<FoundKey> {
  const made = await newManagerKey(false);
  const store = () => storeManagerKey(hub, place, made);
  return { recipient: made.recipient, from: "new", store };
}

/** Creates the Secret. The copy goes again only when the hub has said that it did not take the key. */
export async function storeManagerKey(
  hub: KubeClient,
  { namespace, out }: Place,
  { file, recipient }: ManagerKey,
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
    const what = `Secret ${namespace}/${managerSecret} is there already; it was not changed`;
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
