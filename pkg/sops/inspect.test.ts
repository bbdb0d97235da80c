import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Encrypter } from "age-encryption";
import { encodeArmor } from "./armor.ts";
import { Unwraps } from "./data-key.ts";
import { encryptFile, generateIdentity, inspectFile, parseIdentities } from "./index.ts";
import type { Identity } from "./identity.ts";
import { parseMetadata } from "./metadata.ts";
import { requireMetadata } from "./open.ts";
import { readSource } from "./store.ts";

const chance = { random: randomBytes, now: () => new Date("2026-01-02T03:04:05Z") };

async function identity(): Promise<Identity> {
  const [found] = await parseIdentities(generateIdentity(randomBytes).identity, "test");
  assert.ok(found);
  return found;
}

const [a, b, c] = [await identity(), await identity(), await identity()];
const identities = [a, b, c];
const format = "yaml";
const groups = [[a.recipient, b.recipient]];
const file = await encryptFile(Buffer.from("word: secret\n"), { format, groups }, chance);

const entriesOf = (bytes: Buffer) =>
  parseMetadata(requireMetadata(readSource(bytes, format))).groups.flatMap(({ age }) => age);

/** Whom the file opens for, with a look at its values and without; both must say the same. */
async function opensOf(bytes: Buffer) {
  const whole = await inspectFile(bytes, { format, identities });
  const keys = await inspectFile(bytes, { format, identities, keysOnly: true });
  assert.deepEqual({ ...whole, values: [], findings: [] }, keys);
  return { opens: whole.opens, isSettled: whole.isSettled };
}

test("who is named opens the file, and nobody else is tried", async () => {
  const opens = [a.recipient, b.recipient];
  assert.deepEqual(await opensOf(file), { opens, isSettled: true });
  const found = await inspectFile(file, { format, identities: [a] });
  assert.deepEqual([found.opens, found.isSettled], [[a.recipient], false]);
});

test("with a wrong label everybody is tried", async () => {
  const wrong = Buffer.from(file.toString().replace(b.recipient, c.recipient));
  const opens = [a.recipient, b.recipient];
  assert.deepEqual(await opensOf(wrong), { opens, isSettled: false });
});

test("an entry that opens for its owner and for a hidden one too is seen through", async () => {
  const [, entry] = entriesOf(file);
  assert.ok(entry);
  const key = await new Unwraps().open(entry.enc, [b]);
  assert.ok(key);
  const encrypter = new Encrypter();
  for (const { recipient } of [b, c]) encrypter.addRecipient(recipient);
  const both = encodeArmor(Buffer.from(await encrypter.encrypt(new Uint8Array(key))));
  const indent = (text: string) => text.trimEnd().replaceAll("\n", "\n            ");
  const text = file.toString();
  assert.ok(text.includes(indent(entry.enc)));
  const hidden = Buffer.from(text.replace(indent(entry.enc), indent(both)));
  const opens = [a.recipient, b.recipient, c.recipient];
  assert.deepEqual(await opensOf(hidden), { opens, isSettled: false });
});
