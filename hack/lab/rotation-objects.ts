import type { Fleet, FleetMember, FleetRevision, KeyRotation } from "../../pkg/api/index.ts";

type Named = { readonly namespace: string; readonly name: string };
type Layer = FleetRevision["spec"]["layers"][number];

export const namespace = "fleet";
/** The Secret with the manager's first identity. */
export const managerSecret = "manager";
const fleetName: Named = { namespace, name: "fleet" };

/** The rotation of the first keys of these clusters. */
export function rotationOf({
  url,
  rollout,
  names,
  managerToo,
}: {
  readonly url: string;
  readonly rollout: KeyRotation["spec"]["rollout"];
  readonly names: readonly string[];
  readonly managerToo: boolean;
}): KeyRotation {
  const spec = {
    clusters: names.map((name) => ({ name, ends: 1 })),
    repository: { url, branch: "main", secretRef: { name: "git" }, delivery: "Push" },
    decryption: { secretRef: { name: managerSecret } },
    ...(managerToo ? { manager: { ends: 1 } } : {}),
    rollout,
    reason: "Scheduled",
    dryRun: false,
  } as const;
  const metadata = { namespace, name: "rotation", generation: 1 };
  return { apiVersion: "capitan.dev/v1alpha1", kind: "KeyRotation", metadata, spec };
}

/** The one Fleet that all clusters are in; what it says is in its revisions. */
export const fleetNamed = (metadata: Named = fleetName): Fleet => ({
  apiVersion: "",
  kind: "Fleet",
  metadata,
  spec: { layers: [] } as never,
});

/** A cluster's member, pinned to the revision of a commit. */
export const memberOf = (name: string, commit: string): FleetMember => ({
  apiVersion: "",
  kind: "FleetMember",
  metadata: { namespace, name },
  spec: { fleetRef: fleetName, clusterRef: { name }, revision: commit, state: "Present" },
});

/** The Fleet's revision of a commit: what each cluster's own Flux opens, and what the hub does. */
export const revisionOf = (url: string, commit: string): FleetRevision => ({
  apiVersion: "",
  kind: "FleetRevision",
  metadata: { namespace, name: commit },
  spec: {
    fleetRef: { name: fleetName.name },
    layers: [fluxLayer(url, commit), sharedLayer(url, commit)],
  },
});

const plain = { wait: false, timeout: "1m", deletionPolicy: "Orphan", dependsOn: [] } as const;

function fluxLayer(url: string, commit: string): Layer {
  const sync = {
    path: "./clusters/{{cluster.name}}",
    interval: "1m",
    decryption: { provider: "sops" },
    git: { url, ref: { commit } },
  } as const;
  const flux = { url: "oci://none/none", digest: "", revision: "", version: "", sync };
  return { ...plain, name: "flux", flux };
}

const sharedLayer = (url: string, commit: string): Layer => ({
  ...plain,
  name: "shared",
  git: { url, commit, revision: "" },
  path: "./shared",
  decryption: { provider: "sops", secretRef: { name: managerSecret } },
});
