import type { CodeTexts } from "./texts.ts";

/** What may be wrong with a layer's source and with what is made of it. */
export const sourceCodes = {
  RefInvalid: {
    retry: "never",
    meaning:
      "An OCI reference, the URL of a Git repository or the name of a Git reference cannot be read.",
    remedy:
      "Write it as oci://HOST[:PORT]/REPOSITORY, https://HOST/PATH or ssh://USER@HOST/PATH, with everything else in ref.",
  },
  ArtifactNotFound: {
    retry: "backoff",
    meaning:
      "The registry has no such repository, tag or digest, or the artifact no such platform, layer or directory.",
    remedy: "Check url and ref; push the artifact with: capitan push artifact.",
  },
  VersionNotFound: {
    retry: "backoff",
    meaning: "No tag of the repository satisfies the version range.",
    remedy:
      "Widen the range, or push a tag that satisfies it. Pre-releases count only when the range names one.",
  },
  RegistryUnreachable: {
    retry: "backoff",
    meaning: "The registry cannot be reached or answered with a server error.",
    remedy:
      "Check the address, insecure and certSecretRef, and the network from the hub to the registry.",
  },
  RegistryDenied: {
    retry: "backoff",
    meaning: "The registry refused the credentials, or wants some.",
    remedy:
      "Set secretRef to a Secret of type kubernetes.io/dockerconfigjson that may pull this repository; for the CLI, run docker login.",
  },
  GitNotFound: {
    retry: "backoff",
    meaning:
      "The Git server has no such repository, branch, tag or commit, or none for these credentials, or the commit no such directory.",
    remedy:
      "Check url, ref and path. For a commit that the server does not give out by its hash, name its branch beside it.",
  },
  GitUnreachable: {
    retry: "backoff",
    meaning: "The Git server cannot be reached, does not answer as one, or stopped in the middle.",
    remedy:
      "Check the address, ca.crt in the Secret, and the network from the hub to the server; what was fetched before stays in use.",
  },
  GitDenied: {
    retry: "backoff",
    meaning: "The Git server refused the credentials, or wants some.",
    remedy:
      "Set secretRef to a Secret that may read the repository: username and password, bearerToken, or identity and known_hosts. For the CLI, log in as git does, with an account that may write.",
  },
  GitPushRejected: {
    retry: "never",
    meaning:
      "The Git server refused the commit: the branch is protected, or one of its hooks says no. Nothing was changed.",
    remedy:
      "Read what the server says. Where a branch takes no pushes, push to another one (--branch NAME) and have it merged.",
  },
  GitConflict: {
    retry: "backoff",
    meaning: "Others were faster in every attempt to push to the branch. Nothing was changed.",
    remedy: "Do it again; it is made anew on what the branch holds by then.",
  },
  GitIdentityMissing: {
    retry: "never",
    meaning: "Nobody knows who makes the commit, or it cannot be signed.",
    remedy:
      "Say it to git (git config --global user.name and user.email), or set GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL. For a signature, user.signingkey must name an SSH key that is there.",
  },
  ReceiverTokenInvalid: {
    retry: "never",
    meaning:
      "The Secret of a Receiver does not exist, or its key token is missing, shorter than 16 bytes, or has white space at an end.",
    remedy:
      "Create it from random bytes: kubectl create secret generic NAME --from-literal=token=$(openssl rand -hex 32). It is taken up at once, and the path changes with it.",
  },
  ReceiverTokenRefused: {
    retry: "never",
    meaning:
      "A Receiver names a Secret that the receiver's process has no right to read; it has not been asked for.",
    remedy:
      "Name a Secret that it may read (receiver-token, unless capitan install was told otherwise), or repeat capitan install with --receiver-token NAME.",
  },
  HostKeyRefused: {
    retry: "backoff",
    meaning:
      "The SSH server shows a host key that known_hosts does not list, that is another one than there, or that is revoked there.",
    remedy:
      "Compare the fingerprint in the message with what the server's owner publishes; only then put the key into known_hosts of the Secret.",
  },
  ArtifactCorrupt: {
    retry: "backoff",
    meaning:
      "The registry or Git server delivered bytes that are not the ones the digest promises, or that cannot be unpacked.",
    remedy: "Push again; if it happens again, do not trust the server or what lies between.",
  },
  ArtifactTooLarge: {
    retry: "never",
    meaning:
      "The artifact or Git repository exceeds a limit on bytes, entries or compression ratio.",
    remedy: "Push less: only manifests belong into the artifact, or into the repository.",
  },
  ArtifactUnsafe: {
    retry: "never",
    meaning:
      "The artifact or Git directory contains links, devices, submodules, absolute names or names that leave its root.",
    remedy:
      "Push regular files only: an artifact for instance with capitan push artifact; for Git, set path to a directory without links.",
  },
  ArtifactGone: {
    retry: "backoff",
    meaning:
      "The revision's artifact or commit is neither in the cache nor on its server any more.",
    remedy: "Push the same bytes again, or let the Fleet move to a revision that exists.",
  },
  FileInvalid: {
    retry: "never",
    meaning: "A file or directory that was named to the CLI cannot be read or written.",
    remedy: "Name another file or directory, or mend what the message says of this one.",
  },
  ManifestInvalid: {
    retry: "never",
    meaning: "A file of the layer is not YAML, or a document in it is not a Kubernetes object.",
    remedy: "Correct the file and line that the message names, and push again.",
  },
  DuplicateObject: {
    retry: "never",
    meaning: "Two documents describe the same object.",
    remedy: "Remove one of them: each object belongs to exactly one place of one layer.",
  },
  ComponentUnknown: {
    retry: "never",
    meaning: "flux.components names a component that the artifact does not contain.",
    remedy: "Use one of the components that the message lists.",
  },
  KustomizeNotRendered: {
    retry: "never",
    meaning:
      "The layer contains a kustomization.yaml; Capitan applies plain manifests and does not run kustomize.",
    remedy: "Push the output of kustomize build, or let the cluster's own Flux render it.",
  },
  PathNotFound: {
    retry: "never",
    meaning: "The source has no file or directory at path or valuesFiles.",
    remedy: "Correct the path, or push the files; capitan pull artifact shows what is there.",
  },
  ValuesNotFound: {
    retry: "backoff",
    meaning: "A ConfigMap that valuesFrom names does not exist, or does not have the key.",
    remedy: "Create it, correct its name or key, or say optional: true.",
  },
  TemplateInvalid: {
    retry: "never",
    meaning:
      "A template cannot be read, or uses a name, a helper or a form that templates do not have.",
    remedy:
      "Correct the file, line and column that the message names; docs/templates.md lists what there is. Braces that are not ours are written \\{{.",
  },
  TemplateTooLarge: {
    retry: "never",
    meaning:
      "A template, or what it renders, exceeds a limit on size, nesting, steps, time or memory.",
    remedy: "Split the file, or loop over less; docs/templates.md lists the limits.",
  },
  InputMissing: {
    retry: "backoff",
    meaning: "A template reads something that this cluster or the values do not have.",
    remedy:
      'Add the label, annotation, variable or value that the message names; or write {{default x "…"}} or {{#if}} when it may be missing.',
  },
  InputInvalid: {
    retry: "backoff",
    meaning:
      "A value is not of the type that a template needs, or a string would not be read back from YAML as the same string.",
    remedy:
      "Write {{quote x}} or {{yaml x indent=4}} in place of {{x}} and of quotes around it, or correct the value.",
  },
  PathUnsafe: {
    retry: "never",
    meaning:
      "A path that is a template became empty, absolute, too long, or leads out of its root.",
    remedy: "Correct the field that the message names, or the value that it is made from.",
  },
  RendererBusy: {
    retry: "backoff",
    meaning: "More templates wait to be rendered than the renderer keeps, or it is being stopped.",
    remedy:
      "Nothing to do if it passes. If it lasts, look for Fleets with the reason TemplateTooLarge.",
  },
  PatchInvalid: {
    retry: "never",
    meaning:
      "A patch of a layer, or its target, cannot be read or asks for what patches may not do.",
    remedy: "Correct the patch that the message names; docs/templates.md says what there is.",
  },
  PatchFailed: {
    retry: "never",
    meaning:
      "A patch does not fit the object that its target matches: a path is not there, or a test fails.",
    remedy: "Correct the patch, its target, or the object that the message names.",
  },
} as const satisfies CodeTexts;
