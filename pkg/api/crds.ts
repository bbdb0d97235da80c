import { clusterTemplateSchema } from "./cluster-template.ts";
import { fleetMemberSchema } from "./fleet-member.ts";
import { fleetRevisionSchema } from "./fleet-revision.ts";
import { fleetSchema } from "./fleet.ts";
import { keyRotationSchema } from "./key-rotation.ts";
import { receiverSchema } from "./receiver.ts";
import type { Schema } from "./schema.ts";
import { secretRotationSchema } from "./secret-rotation.ts";

export const group = "capitan.dev";
export const version = "v1alpha1";

/** A CustomResourceDefinition as it is applied. */
export type CrdManifest = ReturnType<typeof crd>;

type Column = {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly priority?: number;
};
type Kind = {
  kind: string;
  plural: string;
  shortName: string;
  columns: readonly Column[];
  schema: Schema<unknown>;
  status: boolean;
};

/**
 * `clusterctl move` looks at kinds with the first label only. Members go with their Cluster; what
 * does not belong to one Cluster is moved by the second.
 */
function moveLabels(kind: string): Readonly<Record<string, string>> {
  const labels = { "clusterctl.cluster.x-k8s.io": "" };
  return kind === "FleetMember" ? labels : { ...labels, "clusterctl.cluster.x-k8s.io/move": "" };
}

function crd({ kind, plural, shortName, columns, schema, status }: Kind) {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      labels: { "app.kubernetes.io/part-of": "capitan", ...moveLabels(kind) },
    },
    spec: {
      group,
      scope: "Namespaced",
      names: {
        kind,
        plural,
        singular: kind.toLowerCase(),
        listKind: `${kind}List`,
        shortNames: [shortName],
        categories: ["capitan"],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          ...(status ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: [
            ...columns,
            { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
          ],
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  } as const;
}

const readyMessage = `.status.conditions[?(@.type=="Ready")].message`;
const text = (name: string, jsonPath: string): Column => ({ name, type: "string", jsonPath });

const fleetCrd = crd({
  kind: "Fleet",
  plural: "fleets",
  shortName: "fl",
  status: true,
  schema: fleetSchema,
  columns: [
    text("Ready", ".status.summary"),
    text("Revision", ".status.updateRevision"),
    text("Status", readyMessage),
  ],
});

const fleetRevisionCrd = crd({
  kind: "FleetRevision",
  plural: "fleetrevisions",
  shortName: "flr",
  status: false,
  schema: fleetRevisionSchema,
  columns: [text("Fleet", ".spec.fleetRef.name")],
});

const fleetMemberCrd = crd({
  kind: "FleetMember",
  plural: "fleetmembers",
  shortName: "flm",
  status: true,
  schema: fleetMemberSchema,
  columns: [
    text("Cluster", ".spec.clusterRef.name"),
    text("Fleet", ".spec.fleetRef.name"),
    text("Revision", ".spec.revision"),
    text("Ready", `.status.conditions[?(@.type=="Ready")].status`),
    text("Status", readyMessage),
  ],
});

const keyRotationCrd = crd({
  kind: "KeyRotation",
  plural: "keyrotations",
  shortName: "kr",
  status: true,
  schema: keyRotationSchema,
  columns: [
    text("Ready", `.status.conditions[?(@.type=="Ready")].status`),
    text("Clusters", ".status.summary"),
    text("Status", readyMessage),
  ],
});

const secretRotationCrd = crd({
  kind: "SecretRotation",
  plural: "secretrotations",
  shortName: "sr",
  status: true,
  schema: secretRotationSchema,
  columns: [
    text("Ready", `.status.conditions[?(@.type=="Ready")].status`),
    text("Clusters", ".status.summary"),
    text("Status", readyMessage),
  ],
});

const clusterTemplateCrd = crd({
  kind: "ClusterTemplate",
  plural: "clustertemplates",
  shortName: "clt",
  status: false,
  schema: clusterTemplateSchema,
  columns: [text("Description", ".spec.description")],
});

const receiverCrd = crd({
  kind: "Receiver",
  plural: "receivers",
  shortName: "rcv",
  status: true,
  schema: receiverSchema,
  columns: [
    text("Type", ".spec.type"),
    text("Path", ".status.webhookPath"),
    text("Ready", `.status.conditions[?(@.type=="Ready")].status`),
    text("Status", readyMessage),
  ],
});

/** Every CustomResourceDefinition of Capitan. */
export const crds: readonly CrdManifest[] = [
  fleetCrd,
  fleetRevisionCrd,
  fleetMemberCrd,
  keyRotationCrd,
  secretRotationCrd,
  clusterTemplateCrd,
  receiverCrd,
];
