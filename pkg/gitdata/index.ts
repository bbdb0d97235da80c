/** What is said between us and a Git server: URLs, references, credentials, known hosts, packets, requests and answers. No I/O. */
export { parseGitUrl, formatGitUrl, isSameRepository, type GitLocation } from "./location.ts";
export {
  pickRef,
  pinnedBy,
  wantedOf,
  type GitRef,
  type Resolved,
  type ServerRef,
} from "./reference.ts";
export { parseGitSecret, type GitCredentials, type SshCredentials } from "./credentials.ts";
export { formatHostKeys, hostKeysOf, judgeHostKey, type HostKeys } from "./known-hosts.ts";
export { PacketReader, encodePacket } from "./pkt-line.ts";
export {
  cleanText,
  fetchRequest,
  listRequest,
  readAdvertisement,
  readList,
  readPackStream,
  type Advertisement,
  type Want,
} from "./protocol.ts";
export { pushRequest, readPushReport, type PushReport, type RefUpdate } from "./push.ts";
