import { join } from "node:path";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { serverDir } from "./apiserver.ts";
import { providerManifests, type ProviderName } from "./manifests.ts";
import { readServerPki } from "./pki.ts";
import { assertFree } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import { resources } from "./resources.ts";
import { until } from "./wait.ts";

const options = { manager: "capitan-lab", metadataOnly: true };

/** A manager of a Cluster API provider, to run against the hub of a lab. */
export type Manager = {
  readonly provider: ProviderName;
  /** What its process is called in the lab. */
  readonly process: string;
  readonly command: string;
  readonly ports: {
    readonly webhook: number;
    readonly health: number;
    readonly diagnostics: number;
  };
  readonly flags?: readonly string[];
};

/**
 * Starts managers together: the CRDs of all, `more` of the caller's, then the processes, then their
 * webhooks. CRDs and webhook configurations come from pinned modules; neither cert-manager nor a
 * Service is needed, since webhooks are called at a loopback address with the lab's CA.
 */
export async function startManagers(
  labDir: string,
  hub: KubeClient,
  managers: readonly Manager[],
  more: readonly KubeObject[] = [],
): Promise<void> {
  const pki = await readServerPki(join(serverDir(labDir, "hub"), "pki"));
  const caBundle = Buffer.from(pki.ca).toString("base64");
  const manifests = await Promise.all(
    managers.map(({ provider, ports }) =>
      providerManifests(provider, { url: `https://127.0.0.1:${ports.webhook}`, caBundle }),
    ),
  );
  await serveDefinitions(hub, [...manifests.flatMap((m) => m.definitions), ...more]);
  await Promise.all(managers.map((manager) => start(labDir, manager)));
  const hooks = manifests.flatMap(({ webhooks }) => webhooks);
  await Promise.all(hooks.map((hook) => hub.apply(webhookResource(hook), hook, options)));
}

/** Applies CRDs and waits until they are established. */
export async function serveDefinitions(
  hub: KubeClient,
  definitions: readonly KubeObject[],
): Promise<void> {
  await Promise.all(definitions.map((crd) => hub.apply(resources.crd, crd, options)));
  // Each is a quarter of a megabyte: only those that are still missing are read again.
  let missing = definitions;
  const areEstablished = async () => {
    const found = await Promise.all(missing.map((crd) => hub.get(resources.crd, crd.metadata)));
    missing = missing.filter((_, i) => !isEstablished(found[i]));
    return missing.length === 0;
  };
  const what = "CRDs to be established";
  await until(areEstablished, { deadlineMs: 90_000, what, everyMs: 100 });
}

async function start(
  labDir: string,
  { process, command, ports, flags = [] }: Manager,
): Promise<void> {
  for (const port of Object.values(ports)) await assertFree(port, process);
  const dir = serverDir(labDir, "hub");
  // Managers have no flag for the webhook's address: they listen on every interface.
  const args = [
    `--webhook-port=${ports.webhook}`,
    `--webhook-cert-dir=${join(dir, "pki")}`,
    `--health-addr=127.0.0.1:${ports.health}`,
    "--feature-gates=ClusterTopology=true",
  ];
  const diagnostics = [
    `--diagnostics-address=127.0.0.1:${ports.diagnostics}`,
    "--insecure-diagnostics",
  ];
  await launch(labDir, {
    name: process,
    command,
    args: [...args, ...diagnostics, ...flags],
    env: { KUBECONFIG: join(dir, "kubeconfig") },
  });
  await managerReady(labDir, process, ports.health);
}

/** Waits until a manager that was just started answers. */
export async function managerReady(labDir: string, process: string, port: number): Promise<void> {
  await until(
    async () => {
      await assertAlive(labDir, process);
      return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
    },
    { deadlineMs: 60_000, what: process },
  );
}

function isEstablished(crd: KubeObject | undefined): boolean {
  const { conditions = [] } = (crd?.["status"] ?? {}) as {
    conditions?: readonly { type: string; status: string }[] | null;
  };
  return (conditions ?? []).some((c) => c.type === "Established" && c.status === "True");
}

function webhookResource({ kind }: KubeObject): Resource {
  return kind === "MutatingWebhookConfiguration"
    ? resources.mutatingWebhook
    : resources.validatingWebhook;
}
