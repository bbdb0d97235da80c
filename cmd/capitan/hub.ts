import { connect, loadHubConfig, type KubeClient } from "../../pkg/kube/index.ts";

/** Options that every command which asks the hub has. */
export const hubOptions = {
  kubeconfig: { type: "string", describe: "Kubeconfig of the hub; KUBECONFIG when not set" },
} as const;

/** Runs `work` with a client of the hub. */
export async function withHub<T>(
  kubeconfig: string | undefined,
  work: (hub: KubeClient) => Promise<T>,
): Promise<T> {
  const hub = connect(await loadHubConfig(process.env, kubeconfig));
  try {
    return await work(hub);
  } finally {
    await hub.close();
  }
}
