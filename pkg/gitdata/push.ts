import { CapitanError } from "../errors/index.ts";
import { dataPacket, flushPacket, PacketReader, type Packet } from "./pkt-line.ts";
import { agent, cleanText, type Advertisement } from "./protocol.ts";

/** A branch and what it is to become. Without `from` the branch must not exist. */
export type RefUpdate = {
  readonly ref: string;
  readonly from: string | undefined;
  readonly to: string;
};

/** What a server says of a push: taken, or refused in its words, cleaned. */
export type PushReport =
  | { readonly kind: "taken" }
  | { readonly kind: "refused"; readonly why: string };

const absent = "0".repeat(40);
/** What is kept of what a server's hooks say. */
const saidBytesMax = 4 * 1024;
/** No server reports more about one branch. */
const reportLinesMax = 100;

/**
 * Asks a server to take a pack and to move one branch (gitprotocol-pack, "Reference Update Request").
 * `from` is what makes it safe: the server moves the branch only when it is there. Throws
 * GitUnreachable when the server would not say what came of it.
 */
export function pushRequest(
  { capabilities }: Advertisement,
  { ref, from = absent, to }: RefUpdate,
  pack: Buffer,
  what: string,
): Buffer {
  if (!capabilities.has("report-status"))
    throw new CapitanError("GitUnreachable", `${what}: the server does not report on a push`);
  const band = sideBand.filter((capability) => capabilities.has(capability));
  const asked = ["report-status", ...band, agent].join(" ");
  return Buffer.concat([dataPacket(`${from} ${to} ${ref}\0 ${asked}`), flushPacket, pack]);
}

const sideBand = ["side-band-64k"];

/**
 * Reads what came of `pushRequest` (gitprotocol-pack, "Report Status"). Throws ArtifactCorrupt and
 * GitUnreachable when the report is not whole: then nobody knows.
 */
export async function readPushReport(
  { capabilities }: Advertisement,
  packets: PacketReader,
  what: string,
): Promise<PushReport> {
  const said: string[] = [];
  const isBanded = sideBand.some((capability) => capabilities.has(capability));
  const report = isBanded ? new PacketReader(firstBand(packets, said, what), what) : packets;
  const lines = await linesOf(report);
  if (lines === undefined)
    throw new CapitanError("ArtifactCorrupt", `${what}: the report on the push is cut off`);
  // Hooks may still talk after the report, and die when nobody listens.
  if (isBanded) await drain(packets, said);
  const problems = lines.filter((line) => !/^(?:unpack ok$|ok )/.test(line)).map(problemOf);
  const isTaken = lines.some((line) => line.startsWith("ok ")) && problems.length === 0;
  return isTaken ? { kind: "taken" } : { kind: "refused", why: reasonOf(problems, said) };
}

/** The lines up to the flush; undefined when there is none, or too much before it. */
async function linesOf(report: PacketReader): Promise<readonly string[] | undefined> {
  const lines: string[] = [];
  while (lines.length < reportLinesMax) {
    const packet = await report.next();
    if (packet?.kind === "flush") return lines;
    if (packet?.kind !== "data") return undefined;
    lines.push(packet.data.toString("utf8").trim());
  }
  return undefined;
}

/** `ng refs/heads/main pre-receive hook declined` and `unpack index-pack abnormal exit`. */
const problemOf = (line: string) => line.replace(/^ng \S+ /, "").replace(/^unpack /, "unpacking: ");

function reasonOf(problems: readonly string[], said: readonly string[]): string {
  const reason = cleanText(problems.join("; "));
  const words = cleanText(said.join("").replaceAll("\r", "\n"));
  if (words === "") return reason === "" ? "the server gives no reason" : reason;
  return reason === "" ? words : `${reason}; the server says: ${words}`;
}

/** The report itself; what hooks and the server say to people is put aside, and what ends it is thrown. */
async function* firstBand(
  packets: PacketReader,
  said: string[],
  what: string,
): AsyncGenerator<Uint8Array, void> {
  for (let packet = await packets.next(); packet?.kind === "data"; packet = await packets.next()) {
    const [band] = packet.data;
    const content = packet.data.subarray(1);
    if (band === 1) yield content;
    else keep(said, content);
    if (band !== 3) continue;
    const words = cleanText(said.join(""));
    throw new CapitanError("GitUnreachable", `${what}: the server stopped: ${words}`);
  }
}

/** What is still said up to the end. An end that never comes right is no loss any more. */
async function drain(packets: PacketReader, said: string[]): Promise<void> {
  const next = () => packets.next().catch((): Packet | undefined => undefined);
  for (let packet = await next(); packet?.kind === "data"; packet = await next())
    if (packet.data[0] === 2) keep(said, packet.data.subarray(1));
}

function keep(said: string[], content: Buffer): void {
  const room = saidBytesMax - said.reduce((sum, text) => sum + text.length, 0);
  if (room > 0) said.push(content.toString("utf8").slice(0, room));
}
