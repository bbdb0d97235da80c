import assert from "node:assert/strict";
import { codes, type Code } from "../../pkg/errors/index.ts";
import { capitan } from "./index.ts";

/** The codes that `test/e2e/ownership.test.ts` makes true; `test/e2e/errors.test.ts` does all others. */
export const ownershipCodes: readonly Code[] = [
  "AnotherHub",
  "ClusterSuspended",
  "CredentialsExpired",
  "DowngradeRefused",
  "FieldConflict",
  "FluxManagedElsewhere",
  "KubeconfigMismatch",
  "ManagedElsewhere",
  "OwnerLabelStripped",
  "RepairRefused",
  "ServerIdentityRefused",
];

/** The codes about what a layer is made from; `test/e2e/config.test.ts` makes them true. */
export const configurationCodes: readonly Code[] = [
  "DecryptionMissing",
  "IdentityInvalid",
  "InputInvalid",
  "InputMissing",
  "PatchFailed",
  "PatchInvalid",
  "PathNotFound",
  "PathUnsafe",
  "PlaintextSecret",
  "SopsKeyMissing",
  "SopsTampered",
  "TemplateInvalid",
  "TemplateTooLarge",
  "ValuesNotFound",
];

/** The codes about Git sources; `test/e2e/git.test.ts` makes them true. */
export const gitCodes: readonly Code[] = [
  "GitDenied",
  "GitNotFound",
  "GitUnreachable",
  "HostKeyRefused",
];

/** The codes that only a command says; `test/e2e/production.test.ts` and `test/sops` make them true. */
const commandCodes: readonly Code[] = [
  "AlreadyEncrypted",
  "AlreadyExists",
  "ControllerRuns",
  "RecipientInvalid",
  "SopsConfigInvalid",
  "SopsFileInvalid",
  "SopsFileTooLarge",
];

/** What only who writes Git is told; `test/git/publish.test.ts` and `test/e2e/bootstrap.test.ts` make them true. */
const publishCodes: readonly Code[] = ["GitConflict", "GitIdentityMissing", "GitPushRejected"];
/** The codes of Receivers; `test/e2e/receiver.test.ts` makes them true. */
const receiverCodes: readonly Code[] = ["ReceiverTokenInvalid", "ReceiverTokenRefused"];

/** The codes of clusters through Git; `test/git/clusters.test.ts` and `test/e2e/templates.test.ts` make them true. */
const clusterCommandCodes: readonly Code[] = [
  "ClusterTemplateInvalid",
  "FileEdited",
  "LayersLeft",
  "NameInvalid",
  "ParameterInvalid",
  "SecretExposed",
  "VersionRefused",
];

/** `test/e2e/identity.test.ts` makes it true. */
const identityCodes: readonly Code[] = ["IdentityLost"];

/** `test/e2e/rotation.test.ts` and `pkg/rotation` make them true. */
const rotationCodes: readonly Code[] = ["KeyRetired", "RecipientUnknown", "RotationUnsafe"];
/** The codes about Fleets that act as a ServiceAccount; `test/e2e/tenancy.test.ts` makes them true. */
const tenancyCodes: readonly Code[] = ["AccessDenied", "ImpersonationRefused"];

/** What no condition shows for long; `pkg/render/render.test.ts` makes it true. */
const passingCodes: readonly Code[] = ["RendererBusy"];

/** The codes that `test/e2e/errors.test.ts` leaves to others. */
export const codesOfOtherTests: readonly Code[] = [
  ...ownershipCodes,
  ...configurationCodes,
  ...gitCodes,
  ...publishCodes,
  ...identityCodes,
  ...rotationCodes,
  ...receiverCodes,
  ...tenancyCodes,
  ...commandCodes,
  ...clusterCommandCodes,
  ...passingCodes,
];

/** Every code that a test of this process has made true and seen in the words of the CLI. */
export const seen = new Set<Code>();

/** Asserts what `describe` says: the code, and what the code's remedy is. */
export async function describes(
  what: readonly string[],
  code: Code,
  kubeconfig?: string,
): Promise<void> {
  const { stdout, stderr } = await capitan(["describe", ...what], kubeconfig);
  assert.match(stdout, new RegExp(`Cause +${code}: `), stderr);
  assert.ok(stdout.includes(codes[code].remedy), stdout);
  seen.add(code);
}
