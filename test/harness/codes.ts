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

/** `test/e2e/identity.test.ts` makes it true. */
const identityCodes: readonly Code[] = ["IdentityLost"];

/** The codes about Fleets that act as a ServiceAccount; `test/e2e/tenancy.test.ts` makes them true. */
const tenancyCodes: readonly Code[] = ["AccessDenied", "ImpersonationRefused"];

/** What no condition shows for long; `pkg/render/render.test.ts` makes it true. */
const passingCodes: readonly Code[] = ["RendererBusy"];

/** The codes that `test/e2e/errors.test.ts` leaves to others. */
export const codesOfOtherTests: readonly Code[] = [
  ...ownershipCodes,
  ...configurationCodes,
  ...gitCodes,
  ...identityCodes,
  ...tenancyCodes,
  ...commandCodes,
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
