import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { clientOf, serverDir, startApiServer } from "../../hack/lab/apiserver.ts";
import { kubeconfigOf, readServerPki } from "../../hack/lab/pki.ts";
import { launch, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { resources, until } from "./index.ts";

/** A hub that one test file has to itself: an API server without any controllers. */
export type OwnHub = {
  readonly name: string;
  readonly client: KubeClient;
  readonly kubeconfigFile: string;
  readonly address: string;
};

/** Starts one, with an audit log, in the laboratory that all tests share. */
export async function startOwnHub(lab: LabFile, name: string, port: number): Promise<OwnHub> {
  const tools = await ensureTools(silent);
  const { kubeconfigFile } = await startApiServer(lab.dir, tools["kube-apiserver"], {
    name,
    port,
    etcdPort: lab.ports.etcd,
    audit: true,
    // Elsewhere too it is the namespace that refuses privileged pods, not the API server as a whole.
    flags: ["--allow-privileged=true"],
  });
  const client = await clientOf(kubeconfigFile);
  return { name, client, kubeconfigFile, address: `https://127.0.0.1:${port}` };
}

export async function stopOwnHub(lab: LabFile, { name, client }: OwnHub): Promise<void> {
  await stop(lab.dir, `apiserver-${name}`);
  await client.close();
}

type Named = { readonly namespace: string; readonly name: string };

/** A kubeconfig file with a token of a ServiceAccount, good for an hour. */
export async function accountKubeconfig(
  lab: LabFile,
  hub: OwnHub,
  account: Named,
): Promise<string> {
  const request = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    metadata: account,
    spec: { expirationSeconds: 3_600 },
  };
  const reply = await hub.client.create(resources.serviceAccount, request, {
    subresource: "token",
  });
  const token = asString(asMap(reply["status"])["token"]) ?? "";
  const { ca } = await readServerPki(join(serverDir(lab.dir, hub.name), "pki"));
  const file = join(lab.dir, `${hub.name}-${account.name}.kubeconfig`);
  await writeFile(file, kubeconfigOf(hub.address, ca, { token }), { mode: 0o600 });
  return file;
}

/** Serves Clusters, tells of one what Cluster API would tell, and gives it its kubeconfig Secret. */
export async function tellCluster(
  hub: KubeClient,
  { namespace, name }: Named,
  kubeconfig: string,
): Promise<void> {
  const manager = { manager: "test" };
  await hub.apply(resources.crd, clusterDefinition(), manager);
  const home = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  await hub.apply(resources.namespace, home, manager);
  const object = {
    apiVersion: "cluster.x-k8s.io/v1beta2",
    kind: "Cluster",
    metadata: { namespace, name, labels: { cluster: name } },
    spec: {},
    status: { initialization: { controlPlaneInitialized: true, infrastructureProvisioned: true } },
  };
  await until(() => hub.apply(resources.cluster, object, manager), {
    deadlineMs: 15_000,
    what: "Clusters to be served",
  });
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    type: "cluster.x-k8s.io/secret",
    metadata: {
      namespace,
      name: `${name}-kubeconfig`,
      labels: { "cluster.x-k8s.io/cluster-name": name },
    },
    data: { value: Buffer.from(kubeconfig).toString("base64") },
  };
  await hub.apply(resources.secret, secret, manager);
}

function clusterDefinition() {
  const openAPIV3Schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const version = { name: "v1beta2", served: true, storage: true, schema: { openAPIV3Schema } };
  const names = {
    plural: "clusters",
    kind: "Cluster",
    singular: "cluster",
    listKind: "ClusterList",
  };
  const approved = "https://github.com/kubernetes-sigs/cluster-api";
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: "clusters.cluster.x-k8s.io",
      annotations: { "api-approved.kubernetes.io": approved },
    },
    spec: { group: "cluster.x-k8s.io", scope: "Namespaced", names, versions: [version] },
  };
}

type OwnProcess = {
  readonly process: string;
  readonly kubeconfig: string;
  readonly args: readonly string[];
};

/** Starts a controller of this hub as a process, waits until it leads, and gives the address of its endpoint. */
export function startOwnController(lab: LabFile, own: OwnProcess): Promise<string> {
  const places = ["--metrics-address=127.0.0.1:0", `--cache-dir=${join(lab.dir, own.process)}`];
  return startOwn(lab, { ...own, args: [...own.args, ...places] }, '"leading"');
}

/** Starts a receiver of this hub as a process, and gives the address to which providers post. */
export function startOwnReceiver(lab: LabFile, own: OwnProcess): Promise<string> {
  const places = ["--metrics-address=127.0.0.1:0", "--address=127.0.0.1:0"];
  return startOwn(lab, { ...own, args: [...own.args, ...places] }, '"receiving"');
}

/** Starts a process, waits until its log has the words, and gives the address of the port in it. */
async function startOwn(
  lab: LabFile,
  { process: name, kubeconfig, args }: OwnProcess,
  words: string,
): Promise<string> {
  const logFile = join(lab.dir, "log", `${name}.log`);
  const before = (await readFile(logFile, "utf8").catch(() => "")).length;
  const env = { KUBECONFIG: kubeconfig };
  await launch(lab.dir, { name, command: process.execPath, args, env });
  const log = async () => (await readFile(logFile, "utf8").catch(() => "")).slice(before);
  await until(async () => (await log()).includes(words), {
    deadlineMs: 30_000,
    what: `${name} to say ${words}`,
  });
  const port = /"port":(\d+)/.exec(await log())?.[1] ?? "";
  return `http://127.0.0.1:${port}`;
}
