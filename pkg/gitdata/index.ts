/** Git as data: URLs, references, credentials, known hosts, packets, packs, trees. No I/O. */
export { parseGitUrl, formatGitUrl, type GitLocation } from "./location.ts";
export {
  pickRef,
  pinnedBy,
  wantedOf,
  type GitRef,
  type Resolved,
  type ServerRef,
} from "./reference.ts";
export { parseGitSecret, type GitCredentials, type SshCredentials } from "./credentials.ts";
export { hostKeysOf, judgeHostKey, type HostKeys } from "./known-hosts.ts";
export { PacketReader, encodePacket } from "./pkt-line.ts";
export {
  cleanText,
  fetchRequest,
  listRequest,
  readAdvertisement,
  readList,
  type Advertisement,
  type Want,
} from "./protocol.ts";
export { packBytesMax, readPack, receivePack } from "./pack.ts";
export { filesOf } from "./tree.ts";
