import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { accountToken } from "../../hack/lab/account-token.ts";
import { clientOf, serverDir, startApiServer } from "../../hack/lab/apiserver.ts";
import { root } from "../../hack/lab/paths.ts";
import { kubeconfigOf, readServerPki } from "../../hack/lab/pki.ts";
import { launch, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { systemNamespace, tokenSecretsDefault } from "../../pkg/install/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { applyFleet, configMap, fleetOf, inline, namespace, resources, until } from "./index.ts";

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
  const token = await accountToken(hub.client, account, 3_600);
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

/** What the Deployment of one of our processes would run, on a hub where Capitan is installed. */
export async function podTemplate({ client }: OwnHub, account: string): Promise<KubeObject> {
  const name = { namespace: systemNamespace, name: account };
  const live = await client.get(resources.deployment, name);
  return asMap(asMap(live?.["spec"])["template"]) as unknown as KubeObject;
}

type Installed = {
  /** Of the ServiceAccount, which the Deployment is called after. */
  readonly account: string;
  /** What the process is recorded as. */
  readonly process: string;
  /** Arguments besides those of the Deployment. */
  readonly more?: readonly string[];
};

/** The process that a Deployment would run, with the rights of its account. */
export async function asInstalled(
  lab: LabFile,
  hub: OwnHub,
  { account, process, more = [] }: Installed,
): Promise<OwnProcess> {
  const { spec } = await podTemplate(hub, account);
  const [container] = asList(asMap(spec)["containers"]).map(asMap);
  const [node, main = ""] = asList(container?.["command"]).map(String);
  if (node !== "node") throw new Error(`Deployment ${account} runs ${node ?? "nothing"}`);
  const args = [join(root, main), ...asList(container?.["args"]).map(String), ...more];
  const named = { namespace: systemNamespace, name: account };
  return { process, kubeconfig: await accountKubeconfig(lab, hub, named), args };
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

/** Starts a receiver of this hub as a process, and gives the address to which providers post; metrics are on `metricsPort`. */
export function startOwnReceiver(lab: LabFile, own: OwnProcess, metricsPort = 0): Promise<string> {
  const places = [`--metrics-address=127.0.0.1:${metricsPort}`, "--address=127.0.0.1:0"];
  return startOwn(lab, { ...own, args: [...own.args, ...places] }, '"receiving"');
}

/** Has a receiver, which answers at `url`, told of a push that concerns a Fleet of this name without clusters, and waits until it has woken it. */
export async function wakeFleet({ client }: OwnHub, url: string, name: string): Promise<void> {
  const manager = { manager: "test" };
  const [secretName = ""] = tokenSecretsDefault;
  await client.apply(
    resources.secret,
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace, name: secretName },
      stringData: { token: "a-token-of-16-bytes-or-more" },
    },
    manager,
  );
  const metadata = { namespace, name };
  const spec = {
    type: "generic",
    secretRef: { name: secretName },
    resources: [{ kind: "Fleet", name }],
  };
  const receiver = { apiVersion: "capitan.dev/v1alpha1", kind: "Receiver", metadata, spec };
  await client.apply(resources.receiver, receiver, manager);
  await applyFleet(client, name, "nobody", [inline("l", [configMap("woken")])]);
  const posted = async () => {
    const live = await client.get(resources.receiver, metadata);
    const path = asString(asMap(live?.["status"])["webhookPath"]);
    const reply = await fetch(`${url}${path}`, { method: "POST" });
    return (await reply.text()) === "1 Fleet is woken\n";
  };
  await until(posted, { deadlineMs: 20_000, what: "a delivery to be accepted" });
  const asked = async () =>
    (await fleetOf(client, name))?.status?.lastHandledReconcileAt !== undefined;
  await until(asked, { deadlineMs: 10_000, what: "the Fleet to be asked" });
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
