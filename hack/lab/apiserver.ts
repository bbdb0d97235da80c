import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, loadHubConfig, type KubeClient } from "../../pkg/kube/index.ts";
import { prefixOf } from "./etcd.ts";
import { assertFree, type Ports } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import { kubeconfigOf, writeServerPki } from "./pki.ts";
import { until } from "./wait.ts";

const quotaBytes = 8 * 1024 ** 3;

/** The etcd that all share, and the one that the hub may have to itself. */
export type EtcdName = "etcd" | "etcd-hub";

/** Starts etcd. fsync is off: the lab's data need not survive a power cut. */
export async function startEtcd(
  labDir: string,
  binary: string,
  ports: Ports,
  name: EtcdName = "etcd",
): Promise<void> {
  const [port, peerPort] =
    name === "etcd" ? [ports.etcd, ports.etcdPeer] : [ports.hubEtcd, ports.hubEtcdPeer];
  await assertFree(port, name);
  await assertFree(peerPort, `the peers of ${name}`);
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const args = [
    "--data-dir",
    etcdDir(labDir, name),
    "--listen-client-urls",
    client,
    "--advertise-client-urls",
    client,
  ];
  const peers = [
    "--listen-peer-urls",
    peer,
    "--initial-advertise-peer-urls",
    peer,
    "--initial-cluster",
    `default=${peer}`,
  ];
  const limits = [
    "--unsafe-no-fsync",
    "--quota-backend-bytes",
    String(quotaBytes),
    "--log-level",
    "warn",
  ];
  await launch(labDir, { name, command: binary, args: [...args, ...peers, ...limits] });
  await etcdReady(labDir, name, port);
}

/** Where an etcd keeps its data. */
export const etcdDir = (labDir: string, name: EtcdName) => join(labDir, name);

/** Waits until an etcd that was just started answers on its port. */
export async function etcdReady(labDir: string, name: EtcdName, port: number): Promise<void> {
  await until(
    async () => {
      await assertAlive(labDir, name);
      return (await fetch(`http://127.0.0.1:${port}/health`)).ok;
    },
    { deadlineMs: 30_000, what: name },
  );
}

export type ApiServer = { readonly kubeconfig: string; readonly kubeconfigFile: string };

export type ApiServerOptions = {
  readonly name: string;
  readonly port: number;
  readonly etcdPort: number;
  /** Write an audit log to `auditFile`. */
  readonly audit?: boolean;
  /** Its garbage is collected as Go's defaults say, not early. */
  readonly plentyOfMemory?: boolean;
  readonly flags?: readonly string[];
};

/** Where an API server keeps its certificates and kubeconfig. */
export const serverDir = (labDir: string, name: string) => join(labDir, "servers", name);

/** Where an API server writes its audit log: one JSON event (audit.k8s.io/v1) a line. */
export const auditFile = (labDir: string, name: string) => join(labDir, "audit", `${name}.log`);

/** The name that an API server's process is recorded under. */
export const serverProcess = (name: string) => `apiserver-${name}`;

/** Starts one kube-apiserver with its own CA and its own prefix in the shared etcd; returns when it is ready. */
export async function startApiServer(
  labDir: string,
  binary: string,
  options: ApiServerOptions,
): Promise<ApiServer> {
  const { name, port } = options;
  await assertFree(port, `the API server of ${name}`);
  const dir = serverDir(labDir, name);
  await mkdir(dir, { recursive: true });
  const pki = await writeServerPki(join(dir, "pki"));
  const kubeconfig = kubeconfigOf(`https://127.0.0.1:${port}`, pki.ca, { identity: pki.admin });
  const kubeconfigFile = join(dir, "kubeconfig");
  await writeFile(kubeconfigFile, kubeconfig, { mode: 0o600 });
  await relaunchApiServer(labDir, binary, options);
  return { kubeconfig, kubeconfigFile };
}

/** Starts an API server again whose certificates are there, after it was stopped. */
export async function relaunchApiServer(
  labDir: string,
  binary: string,
  options: ApiServerOptions,
): Promise<void> {
  const { name, audit = false, plentyOfMemory = false } = options;
  if (audit) await writeAuditPolicy(labDir);
  const small = { GOGC: "50", GOMEMLIMIT: name === "hub" ? "900MiB" : "180MiB" };
  await launch(labDir, {
    name: serverProcess(name),
    command: binary,
    args: flagsOf(labDir, options),
    env: plentyOfMemory ? {} : small,
  });
  await serverReady(labDir, name);
}

/** Waits until an API server that was just started is ready. */
export async function serverReady(labDir: string, name: string): Promise<void> {
  const client = await clientOf(join(serverDir(labDir, name), "kubeconfig"));
  try {
    await until(
      async () => {
        await assertAlive(labDir, serverProcess(name));
        return (await client.raw("/readyz")) === "ok";
      },
      { deadlineMs: 90_000, what: `the API server of ${name}`, everyMs: 50 },
    );
  } finally {
    await client.close();
  }
}

const auditPolicyFile = (labDir: string) => join(labDir, "audit", "policy.json");

async function writeAuditPolicy(labDir: string): Promise<void> {
  await mkdir(join(labDir, "audit"), { recursive: true });
  const policy = {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [
      // What is sent to this namespace is written down as a whole, to be compared.
      { level: "Request", namespaces: ["audited"], verbs: ["patch"] },
      { level: "Metadata" },
    ],
  };
  await writeFile(auditPolicyFile(labDir), JSON.stringify(policy));
}

function auditFlags(labDir: string, name: string): readonly string[] {
  return [
    `--audit-policy-file=${auditPolicyFile(labDir)}`,
    `--audit-log-path=${auditFile(labDir, name)}`,
    // An event is written before the reply ends, so that whoever has the reply finds it.
    "--audit-log-mode=blocking",
    // Megabytes; never reached: who reads the log reads one file.
    "--audit-log-maxsize=10000",
  ];
}

function flagsOf(
  labDir: string,
  { name, port, etcdPort, audit = false, flags = [] }: ApiServerOptions,
): readonly string[] {
  const pki = (file: string) => join(serverDir(labDir, name), "pki", file);
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--etcd-prefix=${prefixOf(name)}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    `--secure-port=${port}`,
    `--tls-cert-file=${pki("tls.crt")}`,
    `--tls-private-key-file=${pki("tls.key")}`,
    `--client-ca-file=${pki("ca.crt")}`,
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${pki("sa.key")}`,
    `--service-account-signing-key-file=${pki("sa.key")}`,
    "--endpoint-reconciler-type=none",
    // Nobody makes the ServiceAccount "default" here, so pods could not be admitted; there are none.
    "--disable-admission-plugins=ServiceAccount",
    "--profiling=false",
    ...(audit ? auditFlags(labDir, name) : []),
    ...flags,
  ];
}

/** A client for a kubeconfig file of the lab. */
export async function clientOf(kubeconfigFile: string): Promise<KubeClient> {
  return connect(await loadHubConfig({}, { kubeconfig: kubeconfigFile }));
}
