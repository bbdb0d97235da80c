import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";
import { parseIdentities, type Identity } from "../sops/index.ts";
import type { Reader, Secrets } from "./ports.ts";

/** A Secret that must be there. Throws SecretNotFound. */
export async function existingSecret(
  secrets: Secrets,
  { namespace, as }: Reader,
  name: string,
  signal: AbortSignal,
): Promise<KubeObject> {
  const secret = await secrets.secretAs(as, { namespace, name }, signal);
  if (secret === undefined)
    throw new CapitanError("SecretNotFound", `Secret ${namespace}/${name} does not exist`);
  return secret;
}

/** A Secret that must be there and hold logins of registries. Throws SecretNotFound, SecretInvalid. */
export async function dockerSecret(
  secrets: Secrets,
  reader: Reader,
  name: string,
  signal: AbortSignal,
): Promise<KubeObject> {
  const secret = await existingSecret(secrets, reader, name, signal);
  if (secret["type"] !== "kubernetes.io/dockerconfigjson")
    throw new CapitanError(
      "SecretInvalid",
      `${nameOfSecret(secret)} is not of type kubernetes.io/dockerconfigjson`,
    );
  return secret;
}

/** One value of a Secret. Throws SecretInvalid when it is missing or empty. */
export function secretText(secret: KubeObject, key: string): string {
  const value = asString(asMap(secret["data"])[key]);
  if (value === undefined || value === "")
    throw new CapitanError("SecretInvalid", `${nameOfSecret(secret)} has no key ${key}`);
  return Buffer.from(value, "base64").toString("utf8");
}

/**
 * The age identities in a Secret as Flux reads them: every key that ends with `.agekey`, one identity
 * a line. Throws SecretInvalid, IdentityInvalid.
 */
export async function identitiesIn(secret: KubeObject): Promise<readonly Identity[]> {
  const keys = Object.keys(asMap(secret["data"])).filter((key) => key.endsWith(".agekey"));
  if (keys.length === 0)
    throw new CapitanError(
      "SecretInvalid",
      `${nameOfSecret(secret)} has no key that ends with .agekey`,
    );
  const found = keys.map((key) =>
    parseIdentities(secretText(secret, key), `${nameOfSecret(secret)}, key ${key}`),
  );
  return (await Promise.all(found)).flat();
}

/** As people know it. */
export const nameOfSecret = ({ metadata }: KubeObject): string =>
  `Secret ${metadata.namespace ?? ""}/${metadata.name}`;
