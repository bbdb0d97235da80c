import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { PacketReader, encodePacket } from "../gitdata/index.ts";
import { readPack, receivePack } from "./index.ts";

const codes = { commit: 1, tree: 2, blob: 3, tag: 4, ofs: 6, ref: 7 };
type Part = {
  readonly code: number;
  readonly content: Buffer;
  readonly base?: Buffer;
  /** What the header says, when it lies. */
  readonly size?: number;
};

const blob = (text: string | Buffer): Part => ({ code: codes.blob, content: Buffer.from(text) });
const hashOf = (text: string | Buffer) =>
  createHash("sha1").update(`blob ${text.length}\0`).update(text).digest("hex");
const read = (pack: Buffer) => readPack(pack, "r");

function headOf(code: number, size: number): Buffer {
  const bytes = [(code << 4) | (size % 16)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(rest % 128);
  }
  return Buffer.from(bytes);
}

function packOf(parts: readonly Part[], count = parts.length): Buffer {
  const head = Buffer.from("PACK\0\0\0\u0002\0\0\0\0", "latin1");
  head.writeUInt32BE(count, 8);
  const bodies = parts.flatMap(
    ({ code, content, base = Buffer.alloc(0), size = content.length }) => [
      headOf(code, size),
      base,
      deflateSync(content),
    ],
  );
  const pack = Buffer.concat([head, ...bodies]);
  return Buffer.concat([pack, createHash("sha1").update(pack).digest()]);
}

function sizeOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

const deltaOf = (base: number, result: number, ...commands: readonly number[]) =>
  Buffer.concat([sizeOf(base), sizeOf(result), Buffer.from(commands)]);
const refDelta = (base: string, content: Buffer): Part => ({
  code: codes.ref,
  base: Buffer.from(base, "hex"),
  content,
});

test("reads whole objects and differences, in whatever order", () => {
  const base = blob("hello world");
  const copy = deltaOf(11, 8, 0x90, 6, 2, ..."!!".split("").map((c) => c.charCodeAt(0)));
  const first = headOf(codes.blob, 11).length + deflateSync(base.content).length;
  const onBase: Part = { code: codes.ofs, base: Buffer.from([first]), content: copy };
  const onDelta = refDelta(hashOf("hello !!"), deltaOf(8, 5, 0x90, 5));
  assert.deepEqual(
    [...read(packOf([base, onBase])).keys()],
    [hashOf("hello world"), hashOf("hello !!")],
  );
  const objects = read(packOf([onDelta, refDelta(hashOf("hello world"), copy), base]));
  assert.equal(objects.get(hashOf("hello"))?.content.toString(), "hello");
  assert.equal(objects.size, 3);
  assert.equal(read(packOf([blob("")])).get(hashOf(""))?.content.length, 0);
});

const base = blob("hello world");
const onBase = (content: Buffer) => packOf([base, refDelta(hashOf("hello world"), content)]);
const good = packOf([base]);
const flipped = Buffer.from(good);
flipped[14] = (flipped[14] ?? 0) ^ 1;
const misnamed = Buffer.concat([good.subarray(0, -1), Buffer.from([(good.at(-1) ?? 0) ^ 1])]);
const broken: readonly (readonly [string, Buffer])[] = [
  ["is empty", Buffer.alloc(0)],
  ["is no pack", Buffer.from("x".repeat(100))],
  ["is cut off", good.subarray(0, -1)],
  ["has another byte", flipped],
  ["has another hash", misnamed],
  ["says that it has more objects", packOf([base], 2)],
  ["says a smaller size", packOf([{ ...base, size: 5 }])],
  ["says a larger size", packOf([{ ...base, size: 50 }])],
  ["has an unknown type", packOf([{ ...base, code: 5 }])],
  ["refers to what is not there", packOf([refDelta(hashOf("nothing"), deltaOf(1, 1, 1, 65))])],
  [
    "refers to itself",
    packOf([{ code: codes.ofs, base: Buffer.from([0]), content: deltaOf(1, 1, 1, 65) }]),
  ],
  [
    "refers to before its beginning",
    packOf([{ code: codes.ofs, base: Buffer.from([0xff, 0x7f]), content: deltaOf(1, 1, 1, 65) }]),
  ],
  ["has a difference to another base", onBase(deltaOf(10, 1, 1, 65))],
  ["copies from beyond the base", onBase(deltaOf(11, 8, 0x91, 9, 8))],
  ["makes more than it says", onBase(deltaOf(11, 1, 2, 65, 65))],
  ["makes less than it says", onBase(deltaOf(11, 3, 2, 65, 65))],
  ["inserts what is not there", onBase(deltaOf(11, 5, 5, 65))],
  ["has the command that means nothing", onBase(deltaOf(11, 1, 0))],
  ["has a difference without sizes", onBase(Buffer.from([0xff]))],
];
for (const [name, pack] of broken) {
  test(`O2 a pack that ${name} is refused`, () => {
    assert.throws(() => read(pack), { code: "ArtifactCorrupt", message: /^r: the pack / });
  });
}

const mebi = 1024 * 1024;
/** A difference of few bytes that makes 16 MiB of a base of 64 KiB. */
function growth(base: Buffer, n: number): Buffer {
  const copies = Array.from({ length: 255 }, () => 0x80);
  // The last copy is 64 KiB less two bytes, which are inserted after it.
  return deltaOf(base.length, 16 * mebi, ...copies, 0xb0, 0xfe, 0xff, 2, n, n);
}
const large: readonly (readonly [string, () => Buffer])[] = [
  ["an object of 17 MiB", () => packOf([blob(Buffer.alloc(17 * mebi))])],
  ["a size that is a lie", () => packOf([{ ...base, size: 2 ** 40 }])],
  [
    "seven objects of 15 MiB",
    () => packOf(Array.from({ length: 7 }, (_, i) => blob(Buffer.alloc(15 * mebi, i)))),
  ],
  ["a million objects", () => packOf([base], 1_000_000)],
  ["a difference that makes 2 GiB", () => onBase(deltaOf(11, 2 ** 31))],
  [
    "seven small differences that make 16 MiB each",
    () => {
      const base = Buffer.alloc(65_536);
      return packOf([
        blob(base),
        ...[1, 2, 3, 4, 5, 6, 7].map((n) => refDelta(hashOf(base), growth(base, n))),
      ]);
    },
  ],
];
for (const [name, make] of large) {
  test(`G5 a pack with ${name} is refused without being unpacked`, () => {
    const pack = make();
    const before = process.memoryUsage().arrayBuffers;
    assert.throws(() => read(pack), { code: "ArtifactTooLarge" });
    assert.ok(process.memoryUsage().arrayBuffers - before < 400 * mebi);
  });
}

test("G5 many differences to one base are read in no more time than they deserve", () => {
  const deltas = Array.from({ length: 20_000 }, (_, i) =>
    refDelta(hashOf("hello world"), deltaOf(11, 3, 3, 65, i % 256, Math.floor(i / 256))),
  );
  const started = performance.now();
  assert.equal(read(packOf([base, ...deltas])).size, 20_001);
  assert.ok(performance.now() - started < 20_000);
});

async function* inPieces(bytes: Buffer, size: number) {
  for (let i = 0; i < bytes.length; i += size)
    yield await Promise.resolve(bytes.subarray(i, i + size));
}
const band = (code: number, data: Buffer | string) =>
  encodePacket({ kind: "data", data: Buffer.concat([Buffer.from([code]), Buffer.from(data)]) });
const flush = encodePacket({ kind: "flush" });
const receive = (bytes: Buffer, size = 7) =>
  receivePack(new PacketReader(inPieces(bytes, size), "r"), "r");

test("G5 a pack is received however it is cut and whatever is said beside it", async () => {
  const halves = [
    band(1, good.subarray(0, 5)),
    band(2, "progress\u001b[31m"),
    band(1, good.subarray(5)),
  ];
  const answer = Buffer.concat([Buffer.from("0008NAK\n"), ...halves, flush]);
  for (const size of [1, 3, 1000]) assert.deepEqual(await receive(answer, size), good);
});

const answers: readonly (readonly [string, Buffer, string, RegExp])[] = [
  ["ends without a flush", band(1, good), "ArtifactCorrupt", /cut off/],
  ["ends within a packet", band(1, good).subarray(0, -3), "ArtifactCorrupt", /cut off/],
  ["is no Git", Buffer.from("HTTP/1.1 200"), "ArtifactCorrupt", /not Git's protocol/],
  ["ends at once", flush, "ArtifactCorrupt", /cut off/],
  [
    "says ERR",
    encodePacket({ kind: "data", data: Buffer.from("ERR not our ref\u001b[2J x") }),
    "GitNotFound",
    /says: not our ref \[2J x/,
  ],
  [
    "stops",
    Buffer.concat([band(1, "PACK"), band(3, `sorry\n${"x".repeat(9999)}`)]),
    "GitUnreachable",
    /stopped: sorry x{194}$/,
  ],
  [
    "will have a million objects",
    band(1, packOf([base], 1_000_000)),
    "ArtifactTooLarge",
    /1000000 objects/,
  ],
];
for (const [name, answer, code, message] of answers) {
  test(`G5 an answer that ${name} is refused`, async () => {
    await assert.rejects(receive(answer), { code, message });
  });
}

test("G5 a pack without end is cut off", async () => {
  let bytes = 0;
  async function* endless() {
    const packet = band(1, Buffer.alloc(60_000));
    yield band(1, good.subarray(0, 12));
    for (;;) {
      bytes += packet.length;
      yield await Promise.resolve(packet);
    }
  }
  await assert.rejects(receivePack(new PacketReader(endless(), "r"), "r"), {
    code: "ArtifactTooLarge",
  });
  assert.ok(bytes < 34 * mebi);
});
