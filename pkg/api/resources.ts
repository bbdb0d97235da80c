import type { Resource } from "../object/index.ts";
import { group, version } from "./crds.ts";

const ours = (kind: string, plural: string): Resource => ({
  group,
  version,
  kind,
  plural,
  namespaced: true,
});

/** The kinds of the hub that Capitan reads and writes. */
export const hubResources = {
  fleet: ours("Fleet", "fleets"),
  fleetMember: ours("FleetMember", "fleetmembers"),
  fleetRevision: ours("FleetRevision", "fleetrevisions"),
  keyRotation: ours("KeyRotation", "keyrotations"),
  secretRotation: ours("SecretRotation", "secretrotations"),
  clusterTemplate: ours("ClusterTemplate", "clustertemplates"),
  receiver: ours("Receiver", "receivers"),
  secret: { group: "", version: "v1", kind: "Secret", plural: "secrets", namespaced: true },
  configMap: {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    namespaced: true,
  },
  event: {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    namespaced: true,
  },
} as const satisfies Record<string, Resource>;

/** The finalizer of Fleets, the only one that Capitan sets on the hub. */
export const fleetFinalizer = "capitan.dev/fleet";
