import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { KubeObject } from "../object/index.ts";
import {
  decryptFile,
  editFile,
  encryptFile,
  formatOf,
  generateIdentity,
  parseIdentities,
  rotateFile,
} from "../sops/index.ts";
import {
  changeValue,
  formatValuePath,
  heldIn,
  parseValuePath,
  restartsFor,
  secretsIn,
  standingOf,
  type Delivered,
  type HeldFile,
} from "./index.ts";

const at = (second: number) => ({
  random: randomBytes,
  now: () => new Date(Date.UTC(2026, 0, 2, 3, 4, second)),
});
const made = generateIdentity(randomBytes);
const identities = await parseIdentities(made.identity, "test");
const stranger = await parseIdentities(generateIdentity(randomBytes).identity, "test");
const rule = { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const;
const manifest = `apiVersion: v1
kind: Secret
metadata:
    name: db
    namespace: shop
data:
    cert: b2xk
    both: b2xk
stringData:
    password: old
    other: stays
    both: old
`;

function encrypted(text: string, path = "db.sops.yaml"): Promise<Buffer> {
  const options = { format: formatOf(path), groups: [[made.recipient]] };
  const rules = text.includes("kind: Secret") ? { ...options, rule } : options;
  return encryptFile(Buffer.from(text), rules, at(0));
}

async function plain(file: Buffer, path = "db.sops.yaml"): Promise<string> {
  return (await decryptFile(file, { format: formatOf(path), identities })).plaintext.toString();
}

const change = (bytes: Buffer, key: string, text: string, path = "db.sops.yaml", second = 5) =>
  changeValue({ path, bytes, key }, { text, identities }, at(second));

test("one value changes under the same data key; every other line keeps its bytes", async () => {
  const before = await encrypted(manifest);
  const { file, where, value, replaces, modified } = await change(before, "password", "new: #1");
  assert.deepEqual(where, ["stringData", "password"]);
  assert.notEqual(value, replaces);
  assert.equal(modified, "2026-01-02T03:04:05Z");
  const [was, is] = [before, file].map((bytes) => bytes.toString().split("\n"));
  const differing = is?.filter((line, i) => line !== was?.[i]).map((line) => line.trim());
  assert.deepEqual(
    differing?.map((line) => line.split(":")[0]),
    ["password", "lastmodified", "mac"],
  );
  assert.equal(await plain(file), manifest.replace("password: old", "password: 'new: #1'"));
});

const keys: readonly (readonly [string, string, string, string | undefined])[] = [
  ["a key of stringData", "password", '["stringData"]["password"]', "password: new"],
  ["a key of data, in base64", "cert", '["data"]["cert"]', "cert: bmV3"],
  ["a path to data, in base64", '["data"]["both"]', '["data"]["both"]', "both: bmV3"],
  ["a path to stringData", "['stringData']['both']", '["stringData"]["both"]', "both: new"],
];
for (const [name, key, where, line] of keys)
  test(`KEY is ${name}`, async () => {
    const changed = await change(await encrypted(manifest), key, "new");
    assert.equal(formatValuePath(changed.where), where);
    assert.ok((await plain(changed.file)).includes(`    ${line ?? ""}\n`));
  });

test("values of other formats and in lists are changed too", async () => {
  const env = await change(await encrypted("TOKEN=old\nA=b\n", "a.env"), "TOKEN", "new", "a.env");
  assert.equal(await plain(env.file, "a.env"), "TOKEN=new\nA=b\n");
  const list = await encrypted("users:\n    - old\n    # two\n    - older\n");
  const { file } = await change(list, '["users"][1]', "new");
  assert.match(await plain(file), /- old\n.*- new\n/s);
});

const refusals: readonly (readonly [string, () => Promise<Buffer>, string, RegExp])[] = [
  ["a plaintext file", () => Promise.resolve(Buffer.from(manifest)), "password", /not encrypted/],
  ["no such key", () => encrypted(manifest), "nobody", /no value under nobody/],
  ["a path to nothing", () => encrypted(manifest), '["stringData"]["x"]', /no value under/],
  ["a path to a map", () => encrypted(manifest), '["stringData"]', /no value under/],
  ["no path", () => encrypted(manifest), "[password]", /is no path/],
  ["a key in two places", () => encrypted(manifest), "both", /more than one place/],
  ["a value in cleartext", () => encrypted(manifest), '["metadata"]["name"]', /in cleartext/],
];
for (const [name, file, key, message] of refusals)
  test(`refused: ${name}, and the file is named`, async () => {
    const bytes = await file();
    await assert.rejects(change(bytes, key, "a-secret-value"), (error: Error) => {
      assert.match(error.message, message);
      assert.match(error.message, /db\.sops\.yaml/);
      assert.ok(!error.message.includes("a-secret-value"));
      return true;
    });
  });

test("refused: who cannot open the file cannot change it", async () => {
  const request = { path: "db.sops.yaml", bytes: await encrypted(manifest), key: "password" };
  await assert.rejects(changeValue(request, { text: "new", identities: stranger }, at(5)), {
    code: "SopsKeyMissing",
  });
});

test("the same value again changes nothing; the clock of a person that is behind does not matter", async () => {
  const first = await change(await encrypted(manifest), "password", "new");
  const again = await change(first.file, "password", "new");
  assert.ok(again.file.equals(first.file));
  assert.equal(again.value, again.replaces);
  const behind = await change(first.file, "password", "newer", "db.sops.yaml", 1);
  assert.equal(behind.modified, "2026-01-02T03:04:06Z");
});

test("a file holds the wanted value, a later one or an older one, and no key is needed to see that", async () => {
  const before = await encrypted(manifest);
  const older = await change(before, "password", "first", "db.sops.yaml", 2);
  const wanted = await change(older.file, "password", "second");
  const held = (bytes: Buffer) => heldIn(bytes, wanted).value;
  assert.deepEqual([before, older.file, wanted.file].map(held), ["older", "older", "wanted"]);
  const edited = await editFile(
    wanted.file,
    {
      format: "yaml",
      identities,
      plaintext: Buffer.from((await plain(wanted.file)).replace("stays", "goes")),
    },
    at(9),
  );
  assert.ok(!edited.file.equals(wanted.file));
  assert.equal(held(edited.file), "wanted");
  const third = await change(wanted.file, "password", "third", "db.sops.yaml", 9);
  assert.equal(held(third.file), "later");
  const rotated = await rotateFile(wanted.file, { format: "yaml", identities }, at(9));
  assert.equal(held(rotated.file), "later");
  const back = await rotateFile(older.file, { format: "yaml", identities }, at(3));
  assert.equal(held(back.file), "older");
  // Put back to what was replaced, with whatever date: the value is the old one.
  const late = older.file.toString().replaceAll("2026-01-02T03:04:02Z", "2027-01-01T00:00:00Z");
  assert.equal(held(Buffer.from(late)), "older");
  assert.equal(held(Buffer.from("no file")), "older");
});

test("the Secret that a file is: by its name and namespace, where these can be read", async () => {
  const wanted = await change(await encrypted(manifest), "password", "new");
  assert.deepEqual(heldIn(wanted.file, wanted).secret, { namespace: "shop", name: "db" });
  const values = await change(await encrypted("password: old\n"), "password", "new");
  assert.equal(heldIn(values.file, values).secret, undefined);
});

test("a path is read as sops writes it, and printed so", () => {
  assert.deepEqual(parseValuePath(`["a\\"b"]['c'][12]`), ['a"b', "c", 12]);
  assert.equal(formatValuePath(['a"b', "c", 12]), `["a\\"b"]["c"][12]`);
  for (const wrong of ["a", '["a"', '["\\x"]', "[-1]"])
    assert.throws(() => parseValuePath(wrong), { code: "SopsFileInvalid" }, wrong);
});

const file = (value: HeldFile["value"] | undefined): HeldFile | undefined =>
  value === undefined
    ? undefined
    : { value, secret: { namespace: "shop", name: "db" }, mark: "ab12" };
const delivered = (
  pinned: HeldFile["value"] | undefined,
  running: HeldFile["value"] | "nothing" | undefined,
): Delivered => ({
  path: "db.sops.yaml",
  source: "oci://r/c:stable",
  pinned: { revision: "sha256:2", held: file(pinned) },
  running: running === "nothing" ? undefined : { revision: "sha256:1", held: file(running) },
});

type Case = readonly [
  string,
  Parameters<typeof standingOf>[0]["presence"],
  readonly Delivered[],
  string,
];
const standings: readonly Case[] = [
  ["it runs the value", "reachable", [delivered("wanted", "wanted")], "runs"],
  ["it runs a later one", "reachable", [delivered("later", "later")], "runs"],
  ["it runs it and is to run a later one", "reachable", [delivered("later", "wanted")], "runs"],
  ["away, but seen with it", "away", [delivered("wanted", "wanted")], "runs"],
  ["CI is late", "reachable", [delivered("older", "older")], "AwaitingPublish"],
  ["CI is late, the cluster away", "away", [delivered("older", "older")], "AwaitingPublish"],
  ["it is to go back", "reachable", [delivered("older", "wanted")], "AwaitingPublish"],
  ["it was told", "reachable", [delivered("wanted", "older")], "AwaitingApply"],
  ["it runs nothing yet", "reachable", [delivered("wanted", "nothing")], "AwaitingApply"],
  ["the file is new to it", "reachable", [delivered("wanted", undefined)], "AwaitingApply"],
  ["it was told and is away", "away", [delivered("wanted", "older")], "ClusterAway"],
  ["it is suspended", "suspended", [delivered("older", "older")], "ClusterSuspended"],
  ["the file goes", "reachable", [delivered(undefined, "older")], "AwaitingApply"],
  ["the file is gone", "reachable", [delivered(undefined, undefined)], "runs"],
  [
    "one file of two",
    "reachable",
    [delivered("wanted", "wanted"), delivered("older", "older")],
    "AwaitingPublish",
  ],
  ["it gets none of the files", "reachable", [], "unconcerned"],
  ["it is gone", "gone", [], "gone"],
];
for (const [name, presence, files, want] of standings)
  test(`a cluster: ${name}`, () => {
    const standing = standingOf({ name: "prod", presence, delivered: files });
    assert.equal(standing.kind === "wait" ? standing.reason : standing.kind, want);
    if (want === "AwaitingPublish")
      assert.match(
        "message" in standing ? standing.message : "",
        /^move oci:\/\/r\/c:stable: prod/,
      );
  });

test("the Secrets that a cluster runs are those of files that it runs", () => {
  const found = secretsIn([delivered("wanted", "wanted"), delivered("wanted", "nothing")]);
  assert.deepEqual(
    [...found].map(([namespace, names]) => [namespace, [...names]]),
    [["shop", [["db", "ab12"]]]],
  );
});

function workload(restartOn: string | undefined, restartedFor?: string): KubeObject {
  const annotations = restartOn === undefined ? {} : { "capitan.dev/restart-on": restartOn };
  const told = restartedFor === undefined ? {} : { "capitan.dev/restarted-for": restartedFor };
  const spec = { template: { metadata: { annotations: told } } };
  const metadata = { name: "web", namespace: "shop", annotations };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata, spec };
}

type Told = readonly [string, KubeObject, "left alone" | "told" | "tell", string];
const told: readonly Told[] = [
  ["says nothing", workload(undefined), "left alone", ""],
  ["asks for another Secret", workload("secret/other"), "left alone", ""],
  ["asks for a ConfigMap of that name", workload("configmap/db"), "left alone", ""],
  ["asks for it", workload("secret/db"), "tell", "db=ab12"],
  ["asks for several", workload(" secret/other , secret/db"), "tell", "db=ab12"],
  ["was told", workload("secret/db", "db=ab12"), "told", "db=ab12"],
  ["was told of an earlier state", workload("secret/db", "db=00"), "tell", "db=ab12"],
  ["was told of another Secret", workload("secret/db,secret/a", "a=11"), "tell", "a=11,db=ab12"],
  ["has nonsense there", workload("secret/db", "=,db,x=y,"), "tell", "db=ab12"],
];
for (const [name, object, want, value] of told)
  test(`a workload that ${name}`, () => {
    const [restart] = restartsFor([object], new Map([["db", "ab12"]]));
    assert.equal(restart?.value ?? "", value);
    const is = restart === undefined ? "left alone" : restart.isTold ? "told" : "tell";
    assert.equal(is, want);
  });

test("two rotations of Secrets of one workload do not take it from each other", () => {
  const first = restartsFor([workload("secret/a,secret/b")], new Map([["a", "11"]]));
  const second = restartsFor(
    [workload("secret/a,secret/b", first[0]?.value)],
    new Map([["b", "22"]]),
  );
  assert.equal(second[0]?.value, "a=11,b=22");
  for (const secrets of [new Map([["a", "11"]]), new Map([["b", "22"]])])
    assert.equal(
      restartsFor([workload("secret/a,secret/b", second[0]?.value)], secrets)[0]?.isTold,
      true,
    );
});
