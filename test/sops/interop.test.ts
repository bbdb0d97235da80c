import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import {
  decryptFile,
  encryptFile,
  generateIdentity,
  parseIdentities,
  rotateFile,
  setValue,
  SopsError,
  updateKeys,
  type Identity,
} from "../../pkg/sops/index.ts";
import { run } from "../harness/cli.ts";
import { sample, type Sample } from "./documents.ts";
import { RealSops } from "./real-sops.ts";

const chance = { random: randomBytes, now: () => new Date() };
const made = Array.from({ length: 4 }, () => generateIdentity(randomBytes));
const keys = made.map(({ identity }) => identity).join("\n");
const recipients = made.map(({ recipient }) => recipient);
let identities: readonly Identity[];
let sops: RealSops;
let command: string;
let dir: string;

before(async () => {
  identities = await parseIdentities(keys, "keys");
  sops = await RealSops.start(keys);
  command = await ensureTool("sops", silent);
  dir = await mkdtemp(join(tmpdir(), "capitan-sops-"));
});
after(async () => {
  sops.stop();
  await rm(dir, { recursive: true, force: true });
});

/** How a sample is encrypted, in the words of both. */
function howOf({ groups: sizes, format, rule, macOnly }: Sample) {
  let next = 0;
  const groups = sizes.map((size) =>
    Array.from({ length: size }, () => recipients[next++ % recipients.length] ?? ""),
  );
  const threshold = groups.length > 1 ? 2 : 0;
  return { format, rule, macOnly, groups, threshold };
}

function encryptOurs(file: Buffer, { threshold, macOnly, ...how }: ReturnType<typeof howOf>) {
  const asked = threshold === 0 ? undefined : threshold;
  return encryptFile(file, { ...how, threshold: asked, macOnlyEncrypted: macOnly }, chance);
}

async function statusOf(work: () => Promise<unknown>): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    if (error instanceof SopsError) return error.status;
    throw error;
  }
}

/** What every made-up document goes through. Gives false for those of which sops cannot read its own output. */
async function bothWays(seed: number, { file, ...one }: Sample): Promise<boolean> {
  const how = howOf({ file, ...one });
  const { format } = how;
  const theirs = await sops.ask({ op: "encrypt", file, ...how });
  if (theirs.status !== 0) {
    assert.equal(
      await statusOf(() => encryptOurs(file, how)),
      theirs.status,
      `${seed}: ${theirs.error}`,
    );
    return true;
  }
  const plain = await sops.ask({ op: "decrypt", format, file: theirs.file });
  if (plain.status !== 0) return false;
  const ours = await encryptOurs(file, how);
  const read = await sops.ask({ op: "decrypt", format, file: ours });
  assert.equal(read.status, 0, `${seed}: sops does not open ours: ${read.error}`);
  assert.equal(read.file.toString(), plain.file.toString(), `${seed}: sops reads ours otherwise`);
  const opened = await decryptFile(theirs.file, { format, identities });
  assert.equal(
    opened.plaintext.toString(),
    plain.file.toString(),
    `${seed}: we read sops' otherwise`,
  );
  assert.ok(opened.plaintext.equals(plain.file));
  assert.deepEqual(opened.findings, [], `${seed}`);
  const rotated = await rotateFile(theirs.file, { format, identities }, chance);
  const reread = await sops.ask({ op: "decrypt", format, file: rotated.file });
  assert.equal(
    reread.file.toString(),
    plain.file.toString(),
    `${seed}: after our rotation ${reread.error}`,
  );
  const turned = await sops.ask({ op: "rotate", format, file: ours });
  const [again, oursAgain] = [
    await sops.ask({ op: "decrypt", format, file: turned.file }),
    await decryptFile(turned.file, { format, identities }),
  ];
  assert.equal(
    oursAgain.plaintext.toString(),
    again.file.toString(),
    `${seed}: after sops' rotation`,
  );
  return true;
}

test("S5 real sops and we read, write and rotate 1,000 made-up files alike, byte for byte", async () => {
  const histogram = new Map<string, number>();
  let unreadable = 0;
  for (let seed = 0; seed < 1_000; seed++) {
    const one = sample(seed);
    if (!(await bothWays(seed, one))) unreadable++;
    else
      for (const feature of one.features) histogram.set(feature, (histogram.get(feature) ?? 0) + 1);
  }
  const rows = [...histogram].sort(([, a], [, b]) => b - a);
  console.log(rows.map(([feature, count]) => `${feature} ${count}`).join(", "));
  console.log(`sops could not read its own output: ${unreadable}`);
  assert.ok(unreadable < 20, `${unreadable}`);
  assert.deepEqual(
    rows.filter(([, count]) => count < 30),
    [],
  );
  assert.ok(rows.length >= 35, `${rows.length} features`);
});

test("S5 the sops command itself opens what we encrypt, rotate, set and re-key", async () => {
  const env = { SOPS_AGE_KEY: keys, HOME: dir, XDG_CONFIG_HOME: dir };
  const extensions = { yaml: ".yaml", json: ".json", dotenv: ".env", ini: ".ini", binary: ".bin" };
  const decrypted = async (file: Buffer, format: keyof typeof extensions) => {
    const path = join(dir, `file${extensions[format]}`);
    await writeFile(path, file);
    const ran = await run(command, ["decrypt", "--output", join(dir, "out"), path], { env });
    assert.equal(ran.code, 0, ran.stderr);
    return readFile(join(dir, "out"));
  };
  let count = 0;
  for (let seed = 2_000; count < 20; seed++) {
    const one = sample(seed);
    const how = howOf(one);
    const { format } = how;
    const theirs = await sops.ask({ op: "encrypt", file: one.file, ...how });
    if (theirs.status !== 0) continue;
    const plain = await sops.ask({ op: "decrypt", format, file: theirs.file });
    if (plain.status !== 0) continue;
    count++;
    const ours = await encryptOurs(one.file, how);
    assert.ok((await decrypted(ours, format)).equals(plain.file), `${seed}: encrypted`);
    const { file } = await rotateFile(ours, { format, identities }, chance);
    assert.ok((await decrypted(file, format)).equals(plain.file), `${seed}: rotated`);
    if (how.groups.length > 1) continue;
    const options = { format, identities, groups: [recipients] };
    const updated = await updateKeys(file, options, chance);
    assert.ok((await decrypted(updated.file, format)).equals(plain.file), `${seed}: re-keyed`);
  }
});

test("S5 sops reads a value that we set, and its own set reads back here", async () => {
  const plain = Buffer.from("a: one\nb:\n    - x\n    - y\n");
  const file = await encryptFile(plain, { format: "yaml", groups: [recipients] }, chance);
  const options = { format: "yaml", identities } as const;
  const set = await setValue(file, { ...options, path: ["b", 1], json: '"new"' }, chance);
  const read = await sops.ask({ op: "decrypt", format: "yaml", file: set.file });
  assert.equal(read.file.toString(), "a: one\nb:\n    - x\n    - new\n");
  const path = join(dir, "set.yaml");
  await writeFile(path, set.file);
  const env = { SOPS_AGE_KEY: keys, HOME: dir };
  const ran = await run(command, ["set", path, '["a"]', '"two"'], { env });
  assert.equal(ran.code, 0, ran.stderr);
  const { plaintext } = await decryptFile(await readFile(path), options);
  assert.equal(plaintext.toString(), "a: two\nb:\n    - x\n    - new\n");
});

test("S5 hybrid recipients: sops and we open each other's", async () => {
  const { newIdentity } = await import("../../pkg/sops/index.ts");
  const quantum = await newIdentity(true, randomBytes);
  const other = await RealSops.start(quantum.identity);
  try {
    const file = Buffer.from("a: one\n");
    const groups = [[quantum.recipient]];
    const ours = await encryptFile(file, { format: "yaml", groups }, chance);
    assert.equal((await other.ask({ op: "decrypt", format: "yaml", file: ours })).status, 0);
    const theirs = await other.ask({ op: "encrypt", format: "yaml", file, groups });
    const own = await parseIdentities(quantum.identity, "pq");
    const { plaintext } = await decryptFile(theirs.file, { format: "yaml", identities: own });
    assert.equal(plaintext.toString(), "a: one\n");
  } finally {
    other.stop();
  }
});
