import { CapitanError } from "../../pkg/errors/index.ts";
import { connect, loadHubConfig, type Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";

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

/** How the hub serves a kind. Throws UnknownKind. */
export async function resourceOf(
  discovery: Discovery,
  { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
): Promise<Resource> {
  const resource = await discovery.find(apiVersion, kind);
  if (resource !== undefined) return resource;
  throw new CapitanError("UnknownKind", `the hub does not serve ${apiVersion} ${kind}`);
}
