import { CapitanError } from "../errors/index.ts";
import {
  dataPacket,
  delimiterPacket,
  flushPacket,
  type Packet,
  type PacketReader,
} from "./pkt-line.ts";
import type { ServerRef } from "./reference.ts";

/** What a server says first: its protocol, what it can do, and in version 1 all of its references. */
export type Advertisement = {
  readonly version: 1 | 2;
  /** By name; the value after `=`, or "". */
  readonly capabilities: ReadonlyMap<string, string>;
  readonly refs: readonly ServerRef[];
};

/** A commit to fetch: as much of its history as `depth` says, or only what came after `have`. */
export type Want = { readonly oid: string } & (
  | { readonly depth: number }
  | { readonly have: string }
);

export const agent = "agent=capitan";
const refPattern = /^([a-f0-9]{40}) ([^\s\0]+)/;
const emptyRepository = "capabilities^{}";

/** Reads the server's greeting (gitprotocol-http, gitprotocol-v2). Throws GitNotFound, GitUnreachable, ArtifactCorrupt. */
export async function readAdvertisement(
  packets: PacketReader,
  what: string,
): Promise<Advertisement> {
  let first = await nextLine(packets, what);
  if (first?.startsWith("# service=") === true) {
    await packets.next();
    first = await nextLine(packets, what);
  }
  const advertisement =
    first === "version 2"
      ? await readCapabilities(packets, what)
      : await readRefs(first, packets, what);
  const format = advertisement.capabilities.get("object-format") ?? "sha1";
  if (format === "sha1") return advertisement;
  const message = `${what}: its objects are named by ${cleanText(format)}; only SHA-1 is read`;
  throw new CapitanError("GitUnreachable", message);
}

async function readCapabilities(packets: PacketReader, what: string): Promise<Advertisement> {
  const capabilities = new Map<string, string>();
  for (;;) {
    const line = await nextLine(packets, what);
    if (line === undefined) return { version: 2, capabilities, refs: [] };
    const [name = "", value = ""] = cut(line, "=");
    capabilities.set(name, value);
  }
}

/** gitprotocol-pack, "Reference Discovery": the capabilities hide behind the first reference. */
async function readRefs(
  first: string | undefined,
  packets: PacketReader,
  what: string,
): Promise<Advertisement> {
  const refs = new Map<string, ServerRef>();
  for (let line = first; line !== undefined; line = await nextLine(packets, what))
    if (!line.startsWith("shallow ")) addRef(refs, line, what);
  refs.delete(emptyRepository);
  const [, listed = ""] = cut(first ?? "", "\0");
  const capabilities = new Map(
    listed.split(" ").map((item): [string, string] => {
      const [name = "", value = ""] = cut(item, "=");
      return [name, value];
    }),
  );
  return { version: 1, capabilities, refs: [...refs.values()] };
}

/** After an annotated tag comes the same name with ^{}, and what the tag points to. */
function addRef(refs: Map<string, ServerRef>, line: string, what: string): void {
  const [, oid, name] = refPattern.exec(line) ?? [];
  if (oid === undefined || name === undefined)
    throw new CapitanError("ArtifactCorrupt", `${what}: the answer is not a list of references`);
  const tag = name.endsWith("^{}") ? refs.get(name.slice(0, -3)) : undefined;
  if (tag === undefined) refs.set(name, { name, oid });
  else refs.set(tag.name, { ...tag, peeled: oid });
}

/** Asks a server of version 2 for the references that begin so. */
export function listRequest({ capabilities }: Advertisement, prefix: string): Buffer {
  const lines = ["peel\n", `ref-prefix ${prefix}\n`].map((line) => dataPacket(line));
  return Buffer.concat([...command("ls-refs", capabilities), ...lines, flushPacket]);
}

/** Reads the answer to `listRequest`. Throws GitNotFound, ArtifactCorrupt. */
export async function readList(packets: PacketReader, what: string): Promise<readonly ServerRef[]> {
  const refs: ServerRef[] = [];
  for (;;) {
    const packet = await packets.next();
    if (packet?.kind === "flush") return refs;
    const line = textOf(packet, what);
    const [, oid, name] = refPattern.exec(line) ?? [];
    const [, peeled] = / peeled:([a-f0-9]{40})(?: |$)/.exec(line) ?? [];
    if (oid !== undefined && name !== undefined) refs.push({ name, oid, peeled });
  }
}

/** Asks for the pack of one commit. */
export function fetchRequest({ version, capabilities }: Advertisement, want: Want): Buffer {
  const { oid } = want;
  const deepen = "depth" in want ? [`deepen ${want.depth}\n`] : [];
  const have = "have" in want ? [`have ${want.have}\n`] : [];
  if (version === 2) {
    const isShallow = capabilities.get("fetch")?.split(" ").includes("shallow") === true;
    const how = isShallow ? deepen : [];
    const lines = ["no-progress\n", "ofs-delta\n", `want ${oid}\n`, ...how, ...have, "done\n"];
    const packets = lines.map((line) => dataPacket(line));
    return Buffer.concat([...command("fetch", capabilities), ...packets, flushPacket]);
  }
  const known = ["side-band-64k", "ofs-delta", "no-progress"].filter((c) => capabilities.has(c));
  const how = capabilities.has("shallow") ? deepen : [];
  return Buffer.concat([
    dataPacket(`want ${oid} ${[...known, agent].join(" ")}\n`),
    ...how.map((line) => dataPacket(line)),
    flushPacket,
    ...[...have, "done\n"].map((line) => dataPacket(line)),
  ]);
}

/**
 * The pack in the answer to `fetchRequest`, piece by piece; everything else that the server says is
 * passed over. Throws GitNotFound when it does not give out the commit, GitUnreachable when it
 * stops, ArtifactCorrupt.
 */
export async function* readPackStream(
  packets: PacketReader,
  what: string,
): AsyncGenerator<Buffer, void> {
  for (let begun = false; ;) {
    const packet = await packets.next();
    if (begun && packet?.kind === "flush") return;
    if (packet === undefined || (begun && packet.kind !== "data"))
      throw new CapitanError("ArtifactCorrupt", `${what}: the pack is cut off`);
    if (packet.kind !== "data") continue;
    const piece = pieceOf(packet, what);
    if (piece === undefined) continue;
    begun = true;
    yield piece;
  }
}

/** What a packet brings of the pack: the first byte says what it is (gitprotocol-pack, "side-band"). */
function pieceOf(packet: Packet & { readonly kind: "data" }, what: string): Buffer | undefined {
  const [band] = packet.data;
  if (band === 1) return packet.data.subarray(1);
  if (band === 3) throw stopped(packet.data.subarray(1), what);
  if (band !== 2) textOf(packet, what);
  return undefined;
}

function stopped(text: Buffer, what: string): CapitanError {
  const said = cleanText(text.toString("utf8"));
  return new CapitanError("GitUnreachable", `${what}: the server stopped: ${said}`);
}

function command(name: string, capabilities: ReadonlyMap<string, string>): readonly Buffer[] {
  return [
    dataPacket(`command=${name}\n`),
    ...(capabilities.has("agent") ? [dataPacket(`${agent}\n`)] : []),
    ...(capabilities.has("object-format") ? [dataPacket("object-format=sha1\n")] : []),
    delimiterPacket,
  ];
}

/** The next line, or undefined at a flush. Throws as `textOf`. */
async function nextLine(packets: PacketReader, what: string): Promise<string | undefined> {
  const packet = await packets.next();
  return packet?.kind === "flush" ? undefined : textOf(packet, what);
}

/** The text of a packet, without the line break. Throws GitNotFound when the server says ERR. */
function textOf(packet: Packet | undefined, what: string): string {
  if (packet?.kind !== "data")
    throw new CapitanError("ArtifactCorrupt", `${what}: the answer is cut off`);
  const text = packet.data.toString("utf8").replace(/\n$/, "");
  if (!text.startsWith("ERR ")) return text;
  throw new CapitanError("GitNotFound", `${what}: the server says: ${cleanText(text.slice(4))}`);
}

/** What somebody else wrote, fit for a message: one line, 200 characters, nothing that a terminal obeys. */
export function cleanText(text: string): string {
  const line = text.slice(0, 1000).replaceAll(/[\p{C}\s]+/gu, " ");
  return line.trim().slice(0, 200);
}

function cut(text: string, at: string): readonly string[] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}
