import type { Problem } from "../engine/index.ts";
import { ApiError } from "../kube/index.ts";

/** Lost connections and rejected credentials end the pass; everything else is about the one object. */
export function problemOf(
  code: "ApplyFailed" | "RemovalBlocked",
  name: string,
  error: unknown,
): Problem {
  if (!(error instanceof ApiError) || isConnectionLost(error)) throw error;
  if (error.causes.includes("NamespaceTerminating")) {
    const message = `${name}: its Namespace is being deleted; it is applied when that is gone and made again`;
    return { code: "RemovalBlocked", message };
  }
  return { code, message: `${name}: ${error.detail}` };
}

/** Whether the error says something about the connection, not about the request. */
export function isConnectionLost({ status }: ApiError): boolean {
  return status === 0 || status === 401 || status === 503;
}
