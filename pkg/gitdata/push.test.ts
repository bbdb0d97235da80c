import assert from "node:assert/strict";
import { test } from "node:test";
import { PacketReader, pushRequest, readPushReport } from "./index.ts";
import { dataPacket, flushPacket } from "./pkt-line.ts";

const ref = "refs/heads/main";
const server = (...names: readonly string[]) => ({
  version: 1 as const,
  capabilities: new Map(names.map((name) => [name, ""])),
  refs: [],
});
const banded = server("report-status", "side-band-64k");
const lines = (...texts: readonly string[]) =>
  Buffer.concat([...texts.map((text) => dataPacket(`${text}\n`)), flushPacket]);
const band = (number: number, content: string | Buffer) =>
  dataPacket(Buffer.concat([Buffer.from([number]), Buffer.from(content)]));

function reader(...pieces: readonly Buffer[]): PacketReader {
  const all = Buffer.concat(pieces);
  // A byte at a time: no piece may be taken for a whole.
  const bytes = (async function* () {
    for (let i = 0; i < all.length; i++) yield await Promise.resolve(all.subarray(i, i + 1));
  })();
  return new PacketReader(bytes, "r");
}
const read = (...pieces: readonly Buffer[]) => readPushReport(banded, reader(...pieces), "r");

test("a branch is moved only from where it was seen", () => {
  const [from, to] = ["a".repeat(40), "b".repeat(40)];
  const pack = Buffer.from("PACK");
  const text = pushRequest(banded, { ref, from, to }, pack, "r").toString();
  assert.match(text, /^[0-9a-f]{4}a{40} b{40} refs\/heads\/main\0 report-status side-band-64k /);
  assert.match(text, /capitan0000PACK$/);
  const created = pushRequest(banded, { ref, from: undefined, to }, pack, "r").toString();
  assert.match(created, /^[0-9a-f]{4}0{40} b{40} refs/);
  assert.throws(() => pushRequest(server(), { ref, from, to }, pack, "r"), {
    code: "GitUnreachable",
  });
});

test("a report is taken or refused, with the server's own words, cleaned", async () => {
  const good = lines("unpack ok", `ok ${ref}`);
  assert.deepEqual(await read(band(1, good), flushPacket), { kind: "taken" });
  assert.deepEqual(
    await read(
      band(2, "hi\n"),
      band(1, good.subarray(0, 7)),
      band(1, good.subarray(7)),
      flushPacket,
    ),
    { kind: "taken" },
  );
  assert.deepEqual(await readPushReport(server("report-status"), reader(good), "r"), {
    kind: "taken",
  });
  const no = lines("unpack ok", `ng ${ref} pre-receive hook declined`);
  assert.deepEqual(
    await read(band(2, "main is\u001b[2J protected\r\n"), band(1, no), flushPacket),
    {
      kind: "refused",
      why: "pre-receive hook declined; the server says: main is [2J protected",
    },
  );
  assert.deepEqual(await read(band(1, lines("unpack index-pack abnormal exit")), flushPacket), {
    kind: "refused",
    why: "unpacking: index-pack abnormal exit",
  });
  assert.deepEqual(await read(band(1, lines("unpack ok")), flushPacket), {
    kind: "refused",
    why: "the server gives no reason",
  });
});

test("a report that is not whole is no report", async () => {
  const good = lines("unpack ok", `ok ${ref}`);
  const corrupt = { code: "ArtifactCorrupt" };
  await assert.rejects(read(), corrupt);
  await assert.rejects(read(flushPacket), corrupt);
  await assert.rejects(read(band(1, good.subarray(0, -4)), flushPacket), corrupt);
  await assert.rejects(read(band(1, good.subarray(0, -9)), flushPacket), corrupt);
  await assert.rejects(read(band(3, "out of disk"), flushPacket), {
    code: "GitUnreachable",
    message: "r: the server stopped: out of disk",
  });
  const endless = Array.from({ length: 200 }, () => band(1, dataPacket("ok x\n")));
  await assert.rejects(read(...endless), corrupt);
});
