import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import {
  encryptFile,
  generateIdentity,
  parseIdentities,
  SopsError,
  verifyFile,
  type Format,
  type Identity,
} from "../../pkg/sops/index.ts";
import { RealSops } from "./real-sops.ts";

const chance = { random: randomBytes, now: () => new Date() };
const [own, other, third] = [0, 1, 2].map(() => generateIdentity(randomBytes));
if (own === undefined || other === undefined || third === undefined) throw new Error("no keys");
let identities: readonly Identity[];
let sops: RealSops;

before(async () => {
  identities = await parseIdentities(own.identity, "own");
  sops = await RealSops.start(own.identity);
});
after(() => sops.stop());

type Verdict = { readonly status: number; readonly message: string };

async function ours(
  file: Buffer,
  format: Format,
  strict: boolean,
  keys = identities,
): Promise<Verdict> {
  try {
    await verifyFile(file, { format, identities: keys, strict });
    return { status: 0, message: "" };
  } catch (error) {
    if (error instanceof SopsError) return { status: error.status, message: error.message };
    throw error;
  }
}

const plain = `apiVersion: v1
kind: Secret
metadata:
    name: app
    labels:
        team: red
        tier: blue
stringData:
    token: s3cr3t-value-1
    other: s3cr3t-value-2
    count: 42
    list:
        - s3cr3t-item-1
        - s3cr3t-item-2
    # s3cr3t remark
    empty: ""
    nothing: null
`;
const rule = { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const;
const file = () =>
  encryptFile(Buffer.from(plain), { format: "yaml", groups: [[own.recipient]], rule }, chance);

/** What may not get out in a message. */
const secret = /s3cr3t|AGE-SECRET|[0-9A-F]{100}/;

type Change = {
  readonly name: string;
  readonly change: (text: string) => string;
  /** What both say; where sops is laxer, what we say. */
  readonly strict?: number;
  readonly status: number;
};

async function agree(
  changes: readonly Change[],
  format: Format = "yaml",
  make = file,
): Promise<void> {
  for (const { name, change, status, strict = status } of changes) {
    const text = (await make()).toString();
    const changed = change(text);
    assert.notEqual(changed, text, `${name}: nothing was changed`);
    const real = await sops.ask({ op: "decrypt", format, file: Buffer.from(changed) });
    const lax = await ours(Buffer.from(changed), format, false);
    const severe = await ours(Buffer.from(changed), format, true);
    assert.equal(
      real.status === 1 || real.status === 2 ? lax.status > 0 : real.status,
      real.status === 1 || real.status === 2 ? true : lax.status,
      `${name}: sops ${real.status} ${real.error}, we ${lax.status} ${lax.message}`,
    );
    assert.equal(lax.status, status, `${name}: ${lax.message}`);
    assert.equal(severe.status, strict, `${name}, strict: ${severe.message}`);
    assert.doesNotMatch(lax.message + severe.message, secret, name);
  }
}

const enc = (key: string) =>
  new RegExp(`(${key}: ENC\\[AES256_GCM,data:)([^,]*)(,iv:)([^,]*)(,tag:)([^,]*)(,type:)(\\w+)`);
/** Changes one character of a Base64 text into another. */
const bent = (text: string) => (text.startsWith("A") ? "B" : "A") + text.slice(1);
const part = (key: string, group: number) => (text: string) =>
  text.replace(enc(key), (...all: string[]) =>
    all
      .slice(1, 9)
      .map((piece, i) => (i + 1 === group ? bent(piece) : piece))
      .join(""),
  );

test("S1 every class of changed bytes is refused as sops refuses it, or more strictly", () =>
  agree([
    { name: "a ciphertext", change: part("token", 2), status: 25 },
    { name: "an IV", change: part("token", 4), status: 25 },
    { name: "a tag", change: part("token", 6), status: 25 },
    {
      name: "a type to one that does not fit",
      change: (t) => t.replace(enc("token"), "$1$2$3$4$5$6$7int"),
      status: 25,
    },
    {
      name: "an unknown type",
      change: (t) => t.replace(enc("token"), "$1$2$3$4$5$6$7blob"),
      status: 25,
    },
    {
      name: "a value replaced by plaintext",
      change: (t) => t.replace(/token: ENC.*/, "token: evil"),
      status: 25,
    },
    {
      name: "a value replaced by a number",
      change: (t) => t.replace(/token: ENC.*/, "token: 5"),
      status: 25,
    },
    { name: "a value emptied", change: (t) => t.replace(/token: ENC.*/, 'token: ""'), status: 51 },
    { name: "a value taken away", change: (t) => t.replace(/ {4}token: ENC.*\n/, ""), status: 51 },
    { name: "a cleartext value", change: (t) => t.replace("name: app", "name: evil"), status: 51 },
    {
      name: "a cleartext value added",
      change: (t) => t.replace("name: app", "name: app\n    evil: x"),
      status: 51,
    },
    { name: "the MAC's ciphertext", change: part("mac", 2), status: 51 },
    { name: "the MAC taken away", change: (t) => t.replace(/ {4}mac: ENC.*\n/, ""), status: 51 },
    { name: "the MAC emptied", change: (t) => t.replace(/mac: ENC.*/, 'mac: ""'), status: 51 },
    {
      name: "lastmodified",
      change: (t) => t.replace(/lastmodified: "20\d\d/, 'lastmodified: "1999'),
      status: 51,
    },
    {
      name: "lastmodified without quotes",
      change: (t) => t.replace(/lastmodified: "(.*)"/, "lastmodified: $1"),
      status: 1,
    },
    {
      name: "the version taken away",
      change: (t) => t.replace(/ {4}version: .*\n/, ""),
      status: 1,
    },
    {
      name: "a second rule",
      change: (t) => t.replace("    mac:", "    encrypted_suffix: _x\n    mac:"),
      status: 1,
    },
    {
      name: "the data key's armor",
      change: (t) => t.replace("YWdlLWVuY3J5cHRpb24", "YWdlLWVuY3J5cHRpb25"),
      status: 128,
    },
    {
      name: "mac_only_encrypted added",
      change: (t) => t.replace("    mac:", "    mac_only_encrypted: true\n    mac:"),
      status: 51,
    },
    {
      name: "the metadata taken away",
      change: (t) => t.slice(0, t.indexOf("\nsops:") + 1),
      status: 1,
    },
    { name: "the rule widened", change: (t) => t.replace("^(data|stringData)$", "."), status: 25 },
    {
      name: "the rule narrowed",
      change: (t) => t.replace("^(data|stringData)$", "^x$"),
      status: 51,
    },
    {
      name: "text behind a value, which sops ignores",
      change: (t) => t.replace(/(token: ENC.*\])/, "$1 evil"),
      status: 0,
      strict: 25,
    },
    {
      name: "a comment in cleartext among encrypted ones",
      change: (t) => t.replace(/#ENC.*/, "# harmless"),
      status: 0,
      strict: 25,
    },
    {
      name: "a comment's ciphertext",
      change: (t) => t.replace("#ENC[AES256_GCM,data:", "#ENC[AES256_GCM,data:AAAA"),
      status: 0,
      strict: 25,
    },
  ]));

const swap = (a: string, b: string) => (text: string) => {
  const [left = "", right = ""] = [a, b].map(
    (key) => new RegExp(`(?<=${key}: )\\S+`).exec(text)?.[0],
  );
  return text.replace(left, "@").replace(right, left).replace("@", right);
};

test("S2 what is moved, swapped or renamed is refused; what the MAC does not cover is written down", () =>
  agree([
    { name: "two values swapped", change: swap("token", "other"), status: 25 },
    { name: "a key renamed", change: (t) => t.replace("    token:", "    stolen:"), status: 25 },
    {
      name: "items of a list swapped",
      change: (t) => t.replace(/( +- ENC.*\n)( +- ENC.*\n)/, "$2$1"),
      status: 51,
    },
    {
      name: "the order of keys",
      change: (t) => t.replace(/( {4}token: .*\n)( {4}other: .*\n)/, "$2$1"),
      status: 51,
    },
    {
      name: "an encrypted value moved where none is",
      change: (t) => t.replace(/name: app/, `name: ${/token: (ENC.*)/.exec(t)?.[1] ?? ""}`),
      status: 51,
    },
    {
      name: "a value moved under another parent",
      change: (t) => t.replace(/\n {4}token: (ENC.*)/, "\n    deep:\n        token: $1"),
      status: 25,
    },
    // Nobody can tell these from the file alone: docs/secrets.md says so.
    {
      name: "a cleartext key renamed",
      change: (t) => t.replace("team: red", "crew: red"),
      status: 0,
    },
    {
      name: "an empty value added",
      change: (t) => t.replace("name: app", 'name: app\n    extra: ""'),
      status: 0,
    },
    {
      name: "a null added",
      change: (t) => t.replace("name: app", "name: app\n    extra: null"),
      status: 0,
    },
    {
      name: "bytes moved between cleartext neighbours",
      change: (t) => t.replace("team: red", "team: re").replace("tier: blue", "tier: dblue"),
      status: 0,
    },
    {
      name: "a type that fits too",
      change: (t) => t.replace(/(count: ENC.*type:)int/, "$1str"),
      status: 0,
    },
  ]));

test("S1 dotenv, INI, JSON and binary files are refused alike", async () => {
  const bend = (t: string) =>
    t.replace(/(data:)([A-Za-z0-9+/])/, (_, a: string, b: string) => a + bent(b));
  const samples: readonly [Format, string][] = [
    ["dotenv", "A=s3cr3t\nB=two\n"],
    ["ini", "[s]\na = s3cr3t\n"],
    ["json", '{"a": "s3cr3t", "b": [1, 2.5]}'],
    ["binary", "s3cr3t"],
  ];
  for (const [format, text] of samples) {
    const make = () =>
      encryptFile(Buffer.from(text), { format, groups: [[own.recipient]] }, chance);
    await agree([{ name: `${format}, a value`, change: bend, status: 25 }], format, make);
    await agree(
      [
        {
          name: `${format}, lastmodified`,
          change: (t) => t.replace(/(lastmodified\W+)20\d\d/, "$11999"),
          status: 51,
        },
      ],
      format,
      make,
    );
  }
});

test("S3 wrong key, revoked recipient, one of two, both: the right reason and no value", async () => {
  const identitiesOf = (...made: readonly { identity: string }[]) =>
    parseIdentities(made.map(({ identity }) => identity).join("\n"), "k");
  const rows: readonly [
    string,
    readonly (readonly string[])[],
    readonly { identity: string }[],
    number,
  ][] = [
    ["the only key", [[own.recipient]], [own], 0],
    ["a stranger", [[own.recipient]], [other], 128],
    ["one of two recipients", [[other.recipient, own.recipient]], [own], 0],
    ["revoked: the other one stayed", [[other.recipient]], [own], 128],
    ["two identities, the second fits", [[own.recipient]], [other, own], 0],
    ["two identities, both fit", [[own.recipient, other.recipient]], [own, other], 0],
    ["two identities, none fits", [[third.recipient]], [own, other], 128],
    ["2 of 3 groups", [[own.recipient], [other.recipient], [third.recipient]], [own, third], 0],
    ["1 of 3 groups", [[own.recipient], [other.recipient], [third.recipient]], [other], 128],
  ];
  for (const [name, groups, held, status] of rows) {
    const threshold = groups.length > 1 ? 2 : undefined;
    const encrypted = await encryptFile(
      Buffer.from(plain),
      { format: "yaml", groups, rule, threshold },
      chance,
    );
    const verdict = await ours(encrypted, "yaml", true, await identitiesOf(...held));
    const real = await RealSops.start(held.map(({ identity }) => identity).join("\n"));
    const answer = await real.ask({ op: "decrypt", format: "yaml", file: encrypted });
    real.stop();
    assert.deepEqual(
      [verdict.status, answer.status],
      [status, status],
      `${name}: ${verdict.message}`,
    );
    assert.doesNotMatch(verdict.message, secret);
  }
});

test("S3 an entry that gives another data key is found, though another one opens the file", async () => {
  const keys = await parseIdentities(`${own.identity}\n${other.identity}`, "k");
  const both = [[own.recipient, other.recipient]];
  const [one, two] = await Promise.all(
    [0, 1].map(() =>
      encryptFile(Buffer.from(plain), { format: "yaml", groups: both, rule }, chance),
    ),
  );
  const entries = (text: string) => text.match(/ {8}- enc: \|\n(?: {12}.*\n)+/g) ?? [];
  const [from, to] = [entries(String(one))[1] ?? "", entries(String(two))[1] ?? ""];
  const mixed = Buffer.from(String(one).replace(from, to));
  assert.equal((await ours(mixed, "yaml", false, keys)).status, 0);
  const verdict = await ours(mixed, "yaml", true, keys);
  assert.equal(verdict.status, 25);
  assert.match(verdict.message, /the entry of age1\w+ does not give the data key/);
});
