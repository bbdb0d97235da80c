import { identitiesIn, existingSecret } from "./secrets.ts";
import { createdMsOf } from "../fleet/index.ts";
import { generationsIn, marksIn, type AgeGeneration } from "./identities.ts";
import type { Reader, Secrets } from "./ports.ts";

/** The manager's identities. */
export type ManagerKeys = {
  /** Oldest first, retired ones too. One Secret may hold several. */
  readonly generations: readonly AgeGeneration[];
  /** Of the Secret with the first generation: another one of the same name is another manager. */
  readonly uid: string;
};

/** The generation to whose recipients one encrypts; none when all of them end. */
export function newestActive({ generations }: ManagerKeys): readonly AgeGeneration[] {
  const active = generations.filter(({ state }) => state === "active");
  const newest = Math.max(0, ...active.map(({ generation }) => generation));
  return active.filter(({ generation }) => generation === newest);
}

/**
 * The manager's identities, as this user may read them: the first generation is what the Secret of this
 * name holds, later ones are in Secrets `<name>-age-<generation>` beside it. Whoever opens something
 * with the manager's key reads it here. Throws SecretNotFound, SecretInvalid, IdentityInvalid.
 */
export async function managerKeys(
  secrets: Secrets,
  { namespace, as }: Reader,
  name: string,
  signal: AbortSignal,
): Promise<ManagerKeys> {
  const holder = { namespace, name, isManager: true };
  const [first, beside] = await Promise.all([
    existingSecret(secrets, { namespace, as }, name, signal),
    secrets.identitySecrets(as, holder, signal),
  ]);
  const marks = marksIn(beside, holder);
  const createdMs = createdMsOf(first.metadata);
  const own = (await identitiesIn(first)).map((identity): AgeGeneration => {
    const state = marks.get(1) ?? "active";
    return { generation: 1, identity, state, createdMs };
  });
  const later = await generationsIn(beside, holder);
  const generations = [...own, ...later.filter(({ generation }) => generation > 1)];
  return { generations, uid: first.metadata.uid ?? "" };
}
