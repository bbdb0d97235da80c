/** What registries say and ask (OCI distribution-spec, docker configs), as data. No I/O. */
export { parseChallenge, mayReceiveCredentials, type Challenge } from "./challenge.ts";
export {
  parseDockerConfig,
  parsePersonalDockerConfig,
  parseHelperReply,
  helperFor,
  credentialsFor,
  withLogin,
  type DockerConfig,
  type Helper,
  type Login,
  type PersonalDockerConfig,
} from "./docker-config.ts";
export { nextPage, ownPath } from "./location.ts";
export { retryDelayMs } from "./retry.ts";
export { chunkBytesOf, commitPath, contentRange, receivedBytes } from "./upload.ts";
export { addReferrer, parseReferrers, referrersTag } from "./referrers.ts";
export { checkBlob, cutBlob } from "./blob.ts";
