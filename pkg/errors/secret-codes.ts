import type { CodeTexts } from "./texts.ts";

/** What may be wrong with Secrets, keys and SOPS files. */
export const secretCodes = {
  SecretNotFound: {
    retry: "backoff",
    meaning: "A Secret that the Fleet refers to does not exist in the Fleet's namespace.",
    remedy: "Create the Secret, or correct its name.",
  },
  SecretInvalid: {
    retry: "backoff",
    meaning: "A Secret that the Fleet refers to has not the keys or the form that are needed.",
    remedy: "Give it the type and keys that the message names.",
  },
  IdentityLost: {
    retry: "backoff",
    meaning: "A cluster has an age identity that the hub has no more, or has otherwise.",
    remedy:
      "Restore the Secret that the message names from a backup, or from the cluster: its data key identity is the value of that key in flux-system/sops-age. Nothing is taken from the cluster meanwhile.",
  },
  DecryptionMissing: {
    retry: "never",
    meaning:
      "A file of the layer is encrypted with SOPS, and the layer does not say how to open it.",
    remedy:
      "Give the layer decryption: {provider: sops, secretRef: {name: manager-key}}, or let the cluster's own Flux decrypt it: flux.sync.decryption.",
  },
  PlaintextSecret: {
    retry: "never",
    meaning: "A Secret lies in the source in cleartext, and the layer decrypts.",
    remedy:
      "Encrypt it (capitan secrets encrypt -i FILE), push again, and change the value: the old one is in the history.",
  },
  SopsFileInvalid: {
    retry: "never",
    meaning:
      "A file cannot be read as its format, is not encrypted with SOPS, or has metadata that cannot be used.",
    remedy:
      "Look at the file and line that the message names; sops encrypt writes a file that can be read.",
  },
  SopsFileTooLarge: {
    retry: "never",
    meaning: "An encrypted file exceeds a limit on bytes, depth, values or recipients.",
    remedy: "Split the file, or encrypt it to fewer recipients.",
  },
  SopsKeyMissing: {
    retry: "backoff",
    meaning: "None of the identities at hand opens the encrypted file.",
    remedy:
      "See who can open it with: capitan secrets inspect FILE. Give one of these identities, or have the file encrypted to your recipient.",
  },
  SopsTampered: {
    retry: "never",
    meaning:
      "An encrypted file was changed by something that does not have its key: a value or the MAC is not what was encrypted.",
    remedy:
      "Take the file from a commit in which it verifies, and change it with: capitan secrets edit.",
  },
  SopsConfigInvalid: {
    retry: "never",
    meaning: "A .sops.yaml cannot be read, or none of its rules is for the file.",
    remedy: "Correct creation_rules, or name the recipients with --age.",
  },
  AlreadyExists: {
    retry: "never",
    meaning:
      "The hub or the repository already has what the command would make; it was not changed.",
    remedy: "Keep it. If it is to be another one, delete it first, when nothing needs it any more.",
  },
  AlreadyEncrypted: {
    retry: "never",
    meaning: "The file is encrypted already, or uses a name that SOPS keeps for its metadata.",
    remedy: "Leave it as it is, or rename the key.",
  },
  RecipientInvalid: {
    retry: "never",
    meaning: "A recipient is no age public key, or there is none. Plugins of age are never run.",
    remedy: "Use age1… or age1pq1…, as age-keygen and capitan init keys print them.",
  },
  KeyRetired: {
    retry: "backoff",
    meaning:
      "What the cluster is to run has a file that only a retired key opens, of the cluster or of the manager. It keeps running what it has.",
    remedy:
      "Publish a state of the files from after the rotation: what was published before it cannot be gone back to.",
  },
  RecipientUnknown: {
    retry: "backoff",
    meaning:
      "An encrypted file names a recipient that its creation rule does not, and nobody knows whose it is. A rotation does not touch such a file.",
    remedy:
      "Name the recipient in the rule of .sops.yaml, or take it out of the file: capitan secrets updatekeys FILE.",
  },
  RotationUnsafe: {
    retry: "backoff",
    meaning:
      "A write of a rotation was refused by its last check: somebody would have been left without a key, or have got one.",
    remedy:
      "Nothing was written. Read the message for the file and the cluster; the rotation goes on by itself when they are right.",
  },
  IdentityInvalid: {
    retry: "never",
    meaning:
      "A file of age identities has a line that is none. One such line makes Flux refuse all of them.",
    remedy:
      "Correct the line that the message names: one AGE-SECRET-KEY a line, nothing around it.",
  },
} as const satisfies CodeTexts;
