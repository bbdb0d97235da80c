import { randomBytes } from "node:crypto";
import { encryptFile, formatOf } from "../../pkg/sops/index.ts";

/**
 * A file as `capitan secrets encrypt` writes it: to these recipients, of a manifest of a Secret only
 * the values.
 */
export async function encrypted(
  text: string,
  path: string,
  recipients: readonly string[],
): Promise<string> {
  const isManifest = /^kind: Secret$/m.test(text);
  const rule = isManifest
    ? { rule: { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const }
    : {};
  const options = { format: formatOf(path), groups: [recipients], ...rule };
  const chance = { random: randomBytes, now: () => new Date() };
  return (await encryptFile(Buffer.from(text), options, chance)).toString();
}
