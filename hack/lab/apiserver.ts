import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, loadHubConfig, type KubeClient } from "../../pkg/kube/index.ts";
import { assertFree, type Ports } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import { kubeconfigOf, writeServerPki } from "./pki.ts";
import { until } from "./wait.ts";

const quotaBytes = 8 * 1024 ** 3;

/** Starts etcd. fsync is off: the lab's data need not survive a power cut. */
export async function startEtcd(labDir: string, binary: string, ports: Ports): Promise<void> {
  await assertFree(ports.etcd, "etcd");
  await assertFree(ports.etcdPeer, "etcd peers");
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  const args = [
    "--data-dir",
    join(labDir, "etcd"),
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
  await launch(labDir, { name: "etcd", command: binary, args: [...args, ...peers, ...limits] });
  await until(
    async () => {
      await assertAlive(labDir, "etcd");
      return (await fetch(`${client}/health`)).ok;
    },
    { deadlineMs: 30_000, what: "etcd" },
  );
}

export type ApiServer = { readonly kubeconfig: string; readonly kubeconfigFile: string };

export type ApiServerOptions = {
  readonly name: string;
  readonly port: number;
  readonly etcdPort: number;
  /** Extra flags, for instance an audit log. */
  readonly flags?: readonly string[];
};

/** Where an API server keeps its certificates and kubeconfig. */
export const serverDir = (labDir: string, name: string) => join(labDir, "servers", name);

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
  const { name } = options;
  const env = { GOGC: "50", GOMEMLIMIT: name === "hub" ? "900MiB" : "180MiB" };
  await launch(labDir, {
    name: `apiserver-${name}`,
    command: binary,
    args: flagsOf(labDir, options),
    env,
  });
  const client = await clientOf(join(serverDir(labDir, name), "kubeconfig"));
  try {
    await until(
      async () => {
        await assertAlive(labDir, `apiserver-${name}`);
        return (await client.raw("/readyz")) === "ok";
      },
      { deadlineMs: 90_000, what: `the API server of ${name}`, everyMs: 50 },
    );
  } finally {
    await client.close();
  }
}

function flagsOf(
  labDir: string,
  { name, port, etcdPort, flags = [] }: ApiServerOptions,
): readonly string[] {
  const pki = (file: string) => join(serverDir(labDir, name), "pki", file);
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--etcd-prefix=/capitan/${name}`,
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
    ...flags,
  ];
}

/** A client for a kubeconfig file of the lab. */
export async function clientOf(kubeconfigFile: string): Promise<KubeClient> {
  return connect(await loadHubConfig({}, kubeconfigFile));
}
