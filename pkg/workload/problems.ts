import type { Problem } from "../engine/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { coreResources } from "./resources.ts";

type Code = "ApplyFailed" | "RemovalBlocked";

/** Lost connections and rejected credentials end the pass; everything else is about the one object. */
export function problemOf(code: Code, name: string, error: unknown): Problem {
  if (!(error instanceof ApiError) || isConnectionLost(error)) throw error;
  return sayOf(code, name, error);
}

/**
 * The same, where a 503 may come from a server behind the API server that serves this one kind: then
 * it is about the object, and everything else goes on.
 */
export async function problemBehind(
  client: KubeClient,
  [code, name]: readonly [Code, string],
  error: unknown,
  signal: AbortSignal,
): Promise<Problem> {
  const why = await saidBehind(client, error, signal);
  return why === undefined ? problemOf(code, name, error) : { code, message: `${name}: ${why}` };
}

/** What a 503 says while the API server itself answers; undefined for everything else. */
export async function saidBehind(
  client: KubeClient,
  error: unknown,
  signal: AbortSignal,
): Promise<string | undefined> {
  const is503 = error instanceof ApiError && error.status === 503;
  if (!is503 || !(await answers(client, signal))) return undefined;
  return `${error.detail} (the API server itself answers, so it is the server behind this kind that does not)`;
}

async function answers(client: KubeClient, signal: AbortSignal): Promise<boolean> {
  const options = { metadataOnly: true, signal };
  return client.get(coreResources.namespace, { name: "kube-system" }, options).then(
    (found) => found !== undefined,
    () => false,
  );
}

function sayOf(code: Code, name: string, error: ApiError): Problem {
  if (error.causes.includes("NamespaceTerminating")) {
    const message = `${name}: its Namespace is being deleted; it is applied when that is gone and made again`;
    return { code: "RemovalBlocked", message };
  }
  const isDenied = error.code === "AccessDenied" || error.code === "ImpersonationRefused";
  return { code: isDenied ? error.code : code, message: `${name}: ${error.detail}` };
}

/** Whether the error says something about the connection, not about the request. */
export function isConnectionLost({ status }: ApiError): boolean {
  return status === 0 || status === 401 || status === 503;
}
