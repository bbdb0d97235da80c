import { CapitanError } from "../../pkg/errors/index.ts";
import {
  ApiError,
  connect,
  loadHubConfig,
  type Discovery,
  type KubeClient,
} from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";

/** Options that every command which asks the hub has. */
export const hubOptions = {
  kubeconfig: { type: "string", describe: "Kubeconfig of the hub; KUBECONFIG when not set" },
} as const;

/** What to do when the management cluster itself does not answer. */
export const hubRemedy = "Check that the hub is up, and that KUBECONFIG is the hub's kubeconfig.";

/** The management cluster itself does not answer. */
export class HubUnreachable extends CapitanError {}

/** Runs `work` with a client of the hub. Throws HubConfigInvalid, and HubUnreachable when it does not answer. */
export async function withHub<T>(
  kubeconfig: string | undefined,
  work: (hub: KubeClient) => Promise<T>,
): Promise<T> {
  const config = await loadHubConfig(process.env, kubeconfig);
  const hub = connect(config);
  try {
    return await work(hub);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 0) throw error;
    const message = `the hub ${config.server} does not answer: ${error.detail}`;
    throw new HubUnreachable("Unreachable", message, { cause: error });
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
