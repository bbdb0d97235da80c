import { join } from "node:path";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { serverDir } from "./apiserver.ts";
import { startManagers } from "./managers.ts";
import { assertFree, type Ports } from "./ports.ts";
import { launch } from "./processes.ts";
import { resources } from "./resources.ts";
import type { Tools } from "./tools.ts";

/**
 * Starts Cluster API's core manager against the hub, and kube-controller-manager with only the
 * garbage collector and the namespace controller, which CAPI's deletion relies on.
 */
export async function startCapi(
  labDir: string,
  tools: Tools,
  ports: Ports,
  hub: KubeClient,
): Promise<void> {
  const core = {
    provider: "core",
    process: "capi-core",
    command: tools["capi-core"],
    ports: {
      webhook: ports.capiWebhook,
      health: ports.capiHealth,
      diagnostics: ports.capiDiagnostics,
    },
  } as const;
  await startManagers(labDir, hub, [core], labDefinitions());
  // After the CRDs: it looks only every 30 s for new kinds of owners.
  await startControllerManager(labDir, tools, ports);
}

async function startControllerManager(labDir: string, tools: Tools, ports: Ports): Promise<void> {
  await assertFree(ports.controllerManager, "kube-controller-manager");
  const kubeconfig = join(serverDir(labDir, "hub"), "kubeconfig");
  const args = [
    `--kubeconfig=${kubeconfig}`,
    "--controllers=garbage-collector-controller,namespace-controller",
    "--leader-elect=false",
  ];
  const serving = [
    "--bind-address=127.0.0.1",
    `--secure-port=${ports.controllerManager}`,
    "--use-service-account-credentials=false",
  ];
  await launch(labDir, {
    name: "kube-controller-manager",
    command: tools["kube-controller-manager"],
    args: [...args, ...serving],
  });
}

/** The CRDs of the lab's own provider, contract v1beta2. */
function labDefinitions(): readonly KubeObject[] {
  const { labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate } = resources;
  const kinds = [labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate];
  return kinds.map(({ group, kind, plural }) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      labels: { "cluster.x-k8s.io/v1beta2": "v1", "clusterctl.cluster.x-k8s.io": "" },
    },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: {
            openAPIV3Schema: { type: "object", properties: { spec: freeForm, status: freeForm } },
          },
        },
      ],
    },
  }));
}

const freeForm = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
