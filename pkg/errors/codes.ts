/**
 * Every error code: what it means and what a person should do. A code is a condition reason, an
 * event reason, a log field and a word of the CLI at once. `retry: "never"` codes need a new spec
 * or a human; `retry: "backoff"` codes may go away by themselves.
 */
export const codes = {
  NamespaceNotAllowed: {
    retry: "never",
    meaning: "The Fleet is in a namespace that is not a platform namespace.",
    remedy: "Move the Fleet, or start the controller with --platform-namespace for its namespace.",
  },
  DependencyInvalid: {
    retry: "never",
    meaning:
      "dependsOn names a layer that does not exist, or the layers depend on each other in a circle.",
    remedy: "Correct dependsOn in the Fleet.",
  },
  CapiVersionUnsupported: {
    retry: "backoff",
    meaning: "The hub does not serve cluster.x-k8s.io/v1beta2.",
    remedy: "Upgrade Cluster API on the management cluster to 1.11 or later.",
  },
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
      "Set secretRef to a Secret that may read the repository: username and password, bearerToken, or identity and known_hosts.",
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
    remedy: "Name another one; pull artifact wants a directory that is empty or does not exist.",
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
  KustomizeNotRendered: {
    retry: "never",
    meaning:
      "The layer contains a kustomization.yaml; Capitan applies plain manifests and does not run kustomize.",
    remedy: "Push the output of kustomize build, or let the cluster's own Flux render it.",
  },
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
  RevisionNotFound: {
    retry: "backoff",
    meaning: "The FleetRevision that the member is pinned to does not exist.",
    remedy: "Wait for the Fleet to write it again; if it stays, check that the Fleet exists.",
  },
  ClusterPaused: {
    retry: "backoff",
    meaning: "The Cluster is paused, so nothing is written to it.",
    remedy: "Unpause the Cluster when you are done with it.",
  },
  ClusterDeleting: {
    retry: "backoff",
    meaning: "The Cluster is being deleted; Capitan has let go of it.",
    remedy: "Nothing to do: the member goes with the Cluster.",
  },
  ControlPlaneNotInitialized: {
    retry: "backoff",
    meaning: "Cluster API has not reported the control plane as initialized yet.",
    remedy: "Wait; if it lasts, look at the Cluster's conditions.",
  },
  HubConfigInvalid: {
    retry: "never",
    meaning: "The hub's own kubeconfig cannot be found or read.",
    remedy: "Set KUBECONFIG to the kubeconfig of the management cluster.",
  },
  KubeconfigNotFound: {
    retry: "backoff",
    meaning: "The Secret <cluster>-kubeconfig does not exist or has no key 'value'.",
    remedy: "Look at the Cluster's control plane object, which should write it.",
  },
  KubeconfigInvalid: {
    retry: "backoff",
    meaning: "The workload cluster's kubeconfig cannot be read.",
    remedy: "Repair the Secret that the message names.",
  },
  KubeconfigRefused: {
    retry: "backoff",
    meaning:
      "The workload cluster's kubeconfig asks for something unsafe: to run a program, to read a file, to use a proxy, to impersonate, or to skip TLS.",
    remedy:
      "Write a kubeconfig with https server, certificate-authority-data and a client certificate, token or password inline.",
  },
  Unreachable: {
    retry: "backoff",
    meaning: "The workload cluster's API server cannot be reached or does not answer in time.",
    remedy: "Check the control plane endpoint and the network from the hub to it.",
  },
  CredentialsRejected: {
    retry: "backoff",
    meaning: "The workload cluster's API server rejected the credentials of the kubeconfig.",
    remedy: "Let the control plane provider renew the kubeconfig Secret, or check its rights.",
  },
  CredentialsExpired: {
    retry: "backoff",
    meaning: "The client certificate in the workload cluster's kubeconfig has expired.",
    remedy: "Let the control plane provider renew the kubeconfig Secret that the message names.",
  },
  ServerIdentityRefused: {
    retry: "backoff",
    meaning:
      "The server at the workload cluster's address shows a certificate that the kubeconfig's CA does not vouch for, that is expired, or that is for another name.",
    remedy:
      "Check that the control plane endpoint still leads to this cluster; after a CA rotation, that the kubeconfig Secret carries the new CA.",
  },
  KubeconfigMismatch: {
    retry: "backoff",
    meaning:
      "The kubeconfig of this Cluster leads to a workload cluster that is already known as another Cluster, so nothing is done there under this name.",
    remedy:
      "Put the right kubeconfig into the Secret that the message names. If both Clusters are meant to be one, delete one of them.",
  },
  ClusterSuspended: {
    retry: "backoff",
    meaning: "Somebody suspended the cluster for a while, so nothing is written to it.",
    remedy: "Wait until the time in the message, or end it with: capitan resume member CLUSTER.",
  },
  AnotherHub: {
    retry: "backoff",
    meaning:
      "Another hub has written to the workload cluster since this one did, so this one has stopped: it may be an old copy.",
    remedy:
      "Find out which hub is the right one. If it is this one: capitan adopt member CLUSTER. Else delete its Fleet here with deletionPolicy Orphan.",
  },
  InventoryInvalid: {
    retry: "never",
    meaning: "The inventory in the workload cluster's namespace capitan-system cannot be read.",
    remedy:
      "Look at what the message names; restore it from a backup, or delete ConfigMap capitan-system/inventory there to have the whole inventory rebuilt from our labels.",
  },
  UnknownKind: {
    retry: "backoff",
    meaning:
      "The layer has objects of a kind that the workload cluster does not serve and that no CRD of the layer defines.",
    remedy: "Install the CRD in this layer, or in one that this layer depends on.",
  },
  OwnedByAnotherFleet: {
    retry: "backoff",
    meaning: "An object of the layer already belongs to another Fleet.",
    remedy: "Remove the object from one of the two Fleets.",
  },
  ManagedElsewhere: {
    retry: "backoff",
    meaning: "An object of the layer is there already and something else manages it.",
    remedy:
      "Remove it from the other tool without deleting the object, then set adopt: true in the layer; or drop it from the layer.",
  },
  FluxManagedElsewhere: {
    retry: "backoff",
    meaning: "The cluster has a Flux that Capitan did not install.",
    remedy: "To take it over, set adopt: true in the layer; Flux keeps running meanwhile.",
  },
  OwnerLabelStripped: {
    retry: "backoff",
    meaning:
      "The workload cluster's API server, or an admission policy there, takes Capitan's owner label off an object, so that it cannot be watched.",
    remedy: "Exempt the label capitan.dev/owner in the policy.",
  },
  RepairRefused: {
    retry: "backoff",
    meaning:
      "An object drifted and the API server refuses to put it back: what somebody else added stands in the way, or the field cannot be changed.",
    remedy:
      "Undo the other change that the message names, or delete the object to have it created again.",
  },
  FieldConflict: {
    retry: "backoff",
    meaning:
      "Another writer takes back a field of an object each time Capitan repairs it; repairs now come with growing pauses.",
    remedy:
      "Stop the other writer, take the field out of the layer, or mark the object with capitan.dev/apply: IfNotPresent.",
  },
  DowngradeRefused: {
    retry: "never",
    meaning:
      "The layer has an earlier minor version of Flux than the cluster, or a CustomResourceDefinition without the version in which the cluster stores its objects; nothing of the layer was changed.",
    remedy: "Stay at the newer version, or migrate the stored objects first.",
  },
  ApplyFailed: {
    retry: "backoff",
    meaning: "The workload cluster's API server refused an object.",
    remedy: "Correct the object that the message names.",
  },
  DependencyNotReady: {
    retry: "backoff",
    meaning: "The layer waits for a layer that it depends on.",
    remedy: "Look at the layer that the message names.",
  },
  HealthTimeout: {
    retry: "backoff",
    meaning: "An object did not become healthy within the layer's timeout.",
    remedy: "Look at the object that the message names on the workload cluster.",
  },
  HealthFailed: {
    retry: "backoff",
    meaning: "An object reports that it has failed.",
    remedy: "Look at the object that the message names on the workload cluster.",
  },
  RemovalNeedsApproval: {
    retry: "backoff",
    meaning:
      "The next step would delete something that holds others (Namespaces, CustomResourceDefinitions, volumes, Clusters, Flux's Kustomizations), most objects of a cluster, Flux itself, or something on many clusters at once.",
    remedy:
      "If that is wanted: capitan approve member CLUSTER, or capitan approve fleet NAME when the condition is on the Fleet. Or annotate it with the approval that the message prints.",
  },
  RemovalBlocked: {
    retry: "backoff",
    meaning:
      "An object that is to go is held by a finalizer, or the API server refuses to delete it.",
    remedy: "Look at the object that the message names on the workload cluster.",
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
    meaning: "The hub already has what the command would make; it was not changed.",
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
  IdentityInvalid: {
    retry: "never",
    meaning:
      "A file of age identities has a line that is none. One such line makes Flux refuse all of them.",
    remedy:
      "Correct the line that the message names: one AGE-SECRET-KEY a line, nothing around it.",
  },
  ControllerRuns: {
    retry: "never",
    meaning: "Capitan cannot be uninstalled because a controller still runs, or has come back.",
    remedy:
      "Stop what the message names, and the GitOps or the person that starts it again; then repeat the command.",
  },
  NotFound: {
    retry: "never",
    meaning: "The object that the command names does not exist, or the hub does not know its kind.",
    remedy:
      "List what there is with: capitan get fleets, capitan get members. On a new hub, first: capitan install.",
  },
  InternalError: {
    retry: "backoff",
    meaning: "Something happened that Capitan did not expect.",
    remedy: "Look at the controller's log for the same object, and report it.",
  },
} as const satisfies Record<
  string,
  { retry: "never" | "backoff"; meaning: string; remedy: string }
>;

/** One of the codes above. */
export type Code = keyof typeof codes;
