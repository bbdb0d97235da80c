/** SOPS files: reading, verifying, writing, rotating them, with age. No I/O. */
export { decryptFile, verifyFile, recipientsOf, isEncrypted } from "./files.ts";
export type { Decrypted } from "./files.ts";
export type { FileRecipients } from "./facts.ts";
export { inspectFile, type Inspected } from "./inspect.ts";
export { checkSealed } from "./sealed.ts";
export { encryptFile, type EncryptOptions } from "./encrypt.ts";
export { rekeyFile, rotateFile, updateKeys, type Rewritten } from "./rotate.ts";
export { editFile, setValue, type Edited } from "./edit.ts";
export { parseSopsConfig, creationRuleFor, type CreationRule, type SopsConfig } from "./config.ts";
export { SopsError, type SopsStatus } from "./error.ts";
export { formatOf, formats, type Format, type Layout } from "./store.ts";
export type { Chance } from "./seal.ts";
export {
  parseIdentities,
  generateIdentity,
  newIdentity,
  type Identity,
  type NewIdentity,
} from "./identity.ts";
export type { Rule } from "./rules.ts";
