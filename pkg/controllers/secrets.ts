import { CapitanError } from "../errors/index.ts";
import type { KubeObject } from "../object/index.ts";
import type { Named, Secrets } from "./ports.ts";

/** The Secret that a Fleet refers to. Throws SecretNotFound. */
export async function existingSecret(
  secrets: Secrets,
  name: Named,
  signal: AbortSignal,
): Promise<KubeObject> {
  const secret = await secrets.secret(name, signal);
  if (secret !== undefined) return secret;
  throw new CapitanError("SecretNotFound", `Secret ${name.namespace}/${name.name} does not exist`);
}

/** How messages call it. */
export const nameOfSecret = ({ metadata }: KubeObject): string =>
  `Secret ${metadata.namespace ?? ""}/${metadata.name}`;
