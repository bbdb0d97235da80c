import type { CodeTexts } from "./texts.ts";

/** What may be wrong with Fleets, with clusters and with what is applied to them. */
export const clusterCodes = {
  NamespaceNotAllowed: {
    retry: "never",
    meaning:
      "The Fleet is outside the platform namespaces and names no ServiceAccount, or its namespace was never set up for Fleets.",
    remedy:
      "Set the namespace up with: capitan create tenant NAMESPACE, and name the ServiceAccount in serviceAccountName. For the platform's own Fleets: capitan install --platform-namespace NAMESPACE.",
  },
  ImpersonationRefused: {
    retry: "backoff",
    meaning:
      "The controller may not act as the ServiceAccount that the Fleet names, on the hub or on the workload cluster.",
    remedy:
      "On the hub: capitan create tenant NAMESPACE --service-account NAME. On the workload cluster the kubeconfig must be allowed to impersonate.",
  },
  AccessDenied: {
    retry: "backoff",
    meaning:
      "The Fleet's ServiceAccount lacks a right that a layer needs, on the hub or on the workload cluster, and nothing of that layer was changed; or whoever runs a command lacks a right on the hub.",
    remedy:
      "Take what the message names out of the layer, or give the ServiceAccount the right, where the message says.",
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
    remedy:
      "Set KUBECONFIG to the kubeconfig of the management cluster; for the CLI also --kubeconfig and --context.",
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
    meaning:
      "An object did not become healthy within the layer's timeout, or what a command waits for did not come within its --timeout.",
    remedy:
      "Look at the object that the message names; if the controller has not looked at it: capitan check.",
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
} as const satisfies CodeTexts;
