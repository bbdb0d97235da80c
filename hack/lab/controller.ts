import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  controllerAccount,
  groundManifests,
  receiverAccount,
  systemNamespace,
} from "../../pkg/install/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { accountToken } from "./account-token.ts";
import { clientOf, serverDir } from "./apiserver.ts";
import { root } from "./paths.ts";
import { kubeconfigOf, readServerPki } from "./pki.ts";
import { assertAlive, launch } from "./processes.ts";
import { labNamespace } from "./lab.ts";
import { resources } from "./resources.ts";
import type { LabFile } from "./state.ts";
import { until } from "./wait.ts";

export type Controller = { readonly pid: number; readonly metrics: string };

export type ControllerOptions = {
  readonly platformNamespaces?: readonly string[];
  readonly flags?: readonly string[];
  /** Flags for Node itself. */
  readonly nodeFlags?: readonly string[];
};

/** Installs Capitan on the hub and starts its controller with the rights of its ServiceAccount, not as admin. */
export async function startController(
  lab: LabFile,
  options: ControllerOptions = {},
): Promise<Controller> {
  const hub = await clientOf(lab.hubKubeconfig);
  try {
    const platformNamespaces = options.platformNamespaces ?? [labNamespace];
    await applyInstall(hub, platformNamespaces);
    const kubeconfig = await accountKubeconfig(lab, hub, controllerAccount);
    const address = `127.0.0.1:${lab.ports.controllerMetrics}`;
    const namespaces = platformNamespaces.flatMap((name) => ["--platform-namespace", name]);
    const places = ["--metrics-address", address, "--cache-dir", join(lab.dir, "artifacts")];
    const args = [
      ...(options.nodeFlags ?? []),
      join(root, "cmd", "controller", "main.ts"),
      ...namespaces,
      ...places,
      ...(options.flags ?? []),
    ];
    const pid = await launch(lab.dir, {
      name: "controller",
      command: process.execPath,
      args,
      env: { KUBECONFIG: kubeconfig },
    });
    await until(
      async () => {
        await assertAlive(lab.dir, "controller");
        return (await fetch(`http://${address}/readyz`)).ok;
      },
      { deadlineMs: 30_000, what: "the controller" },
    );
    return { pid, metrics: `http://${address}/metrics` };
  } finally {
    await hub.close();
  }
}

/** Applies what `capitan install` applies but the Deployment, and waits until the hub serves our kinds. */
export async function applyInstall(
  hub: KubeClient,
  platformNamespaces: readonly string[] = [labNamespace],
): Promise<void> {
  const discovery = new Discovery(hub);
  const ground = groundManifests({ platformNamespaces, management: true });
  for (const object of [...ground, ...labRights()]) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    if (resource === undefined) throw new Error(`the hub does not serve ${object.kind}`);
    await hub.apply(resource, object, { manager: "capitan-install", metadataOnly: true });
  }
  const ours = [resources.fleet, resources.fleetMember, resources.fleetRevision];
  for (const resource of [...ours, resources.receiver]) {
    await until(() => hub.list(resource), {
      deadlineMs: 15_000,
      what: `${resource.plural} to be served`,
    });
  }
}

/** What the admin of a hub grants besides, for Fleets that bring clusters: the kinds of the lab's provider. */
function labRights(): readonly KubeObject[] {
  const { labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate } = resources;
  const kinds = [labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate];
  const verbs = ["get", "list", "watch", "create", "patch", "delete"];
  const rules = [...kinds, resources.clusterClass].map(({ group, plural }) => ({
    apiGroups: [group],
    resources: [plural],
    verbs,
  }));
  const apiVersion = "rbac.authorization.k8s.io/v1";
  const apiGroup = "rbac.authorization.k8s.io";
  const metadata = { name: "lab-provider" };
  const subject = { kind: "ServiceAccount", name: controllerAccount, namespace: systemNamespace };
  const roleRef = { apiGroup, kind: "ClusterRole", ...metadata };
  return [
    { apiVersion, kind: "ClusterRole", metadata, rules },
    { apiVersion, kind: "ClusterRoleBinding", metadata, roleRef, subjects: [subject] },
  ];
}

/** A kubeconfig with a token of one of our ServiceAccounts, good for a day. */
async function accountKubeconfig(lab: LabFile, hub: KubeClient, name: string): Promise<string> {
  const account = { namespace: systemNamespace, name };
  const token = await accountToken(hub, account, 86_400);
  const { ca } = await readServerPki(join(serverDir(lab.dir, "hub"), "pki"));
  const file = join(lab.dir, name, "kubeconfig");
  await mkdir(join(lab.dir, name), { recursive: true });
  await writeFile(file, kubeconfigOf(`https://127.0.0.1:${lab.ports.hub}`, ca, { token }), {
    mode: 0o600,
  });
  return file;
}

export type ReceiverProcess = {
  readonly pid: number;
  /** What `status.webhookPath` of a Receiver is appended to. */
  readonly url: string;
  readonly metrics: string;
};

/**
 * Starts the receiver with the rights of its ServiceAccount, for Receivers of these namespaces.
 * Capitan must be installed already, as `startController` does it.
 */
export async function startReceiver(
  lab: LabFile,
  namespaces: readonly string[] = [labNamespace],
): Promise<ReceiverProcess> {
  const hub = await clientOf(lab.hubKubeconfig);
  try {
    const kubeconfig = await accountKubeconfig(lab, hub, receiverAccount);
    const address = `127.0.0.1:${lab.ports.receiver}`;
    const metricsAddress = `127.0.0.1:${lab.ports.receiverMetrics}`;
    const args = [
      join(root, "cmd", "receiver", "main.ts"),
      ...namespaces.map((name) => `--namespace=${name}`),
      `--address=${address}`,
      `--metrics-address=${metricsAddress}`,
    ];
    const env = { KUBECONFIG: kubeconfig };
    const name = "receiver";
    const pid = await launch(lab.dir, { name, command: process.execPath, args, env });
    await until(
      async () => {
        await assertAlive(lab.dir, name);
        return (await fetch(`http://${metricsAddress}/readyz`)).ok;
      },
      { deadlineMs: 30_000, what: "the receiver" },
    );
    return { pid, url: `http://${address}`, metrics: `http://${metricsAddress}/metrics` };
  } finally {
    await hub.close();
  }
}
