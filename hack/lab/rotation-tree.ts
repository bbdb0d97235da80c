import { randomBytes } from "node:crypto";
import type { Edit } from "../../pkg/git/index.ts";
import { encryptFile, formatOf, generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";

/** Who opens what, before the rotation. */
export type WorldKeys = {
  readonly manager: NewIdentity;
  /** By name of a cluster. */
  readonly first: ReadonlyMap<string, NewIdentity>;
};

/** New keys for so many clusters. */
export function worldKeys(names: readonly string[]): WorldKeys {
  const first = new Map(names.map((name) => [name, generateIdentity(randomBytes)]));
  return { manager: generateIdentity(randomBytes), first };
}

/** The files of a fleet: each cluster's own, some that only the manager opens, and a rule for each cluster. */
export async function worldFiles(
  { manager, first }: WorldKeys,
  { own, shared }: { readonly own: readonly string[]; readonly shared: readonly string[] },
): Promise<readonly Edit[]> {
  const rules: string[] = [];
  const edits: Edit[] = [];
  const add = async (path: string, recipients: readonly string[]) =>
    edits.push({ path, content: await secretFile(path, recipients) });
  for (const [name, { recipient }] of first) {
    const both = [manager.recipient, recipient];
    rules.push(`  - path_regex: ^clusters/${name}/\n    age: ${both.join(",")}\n`);
    for (const file of own) await add(`clusters/${name}/${file}`, both);
  }
  for (const file of shared) await add(`shared/${file}`, [manager.recipient]);
  const text = `creation_rules:\n${rules.join("")}  - age: ${manager.recipient}\n`;
  return [...edits, { path: ".sops.yaml", content: Buffer.from(text) }];
}

/** A Secret of five values, about 2.5 kB when it is encrypted for two. */
export function secretFile(path: string, recipients: readonly string[]): Promise<Buffer> {
  const name = path.replaceAll(/[^a-z0-9]+/g, "-");
  const values = Array.from(
    { length: 5 },
    (_, n) => `    key${n}: ${randomBytes(30).toString("base64")}\n`,
  );
  const text = `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: apps\nstringData:\n${values.join("")}`;
  const rule = { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const;
  const chance = { random: randomBytes, now: () => new Date() };
  return encryptFile(
    Buffer.from(text),
    { format: formatOf(path), groups: [recipients], rule },
    chance,
  );
}
