import { CapitanError, codes, type Code } from "../../pkg/errors/index.ts";
import {
  ApiError,
  connect,
  loadHubConfig,
  type Discovery,
  type HubChoice,
  type KubeClient,
} from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";

/** Options that every command which asks the hub has. */
export const hubOptions = {
  kubeconfig: { type: "string", describe: "Kubeconfig of the hub; KUBECONFIG when not set" },
  context: { type: "string", describe: "Context of the kubeconfig; the current one when not set" },
} as const;

/** What these options say. */
export type HubArguments = HubChoice;

/** The management cluster itself does not answer, or does not let the person who asks. */
export class HubError extends CapitanError {
  readonly remedy: string;

  constructor(code: Code, message: string, { remedy, cause }: { remedy: string; cause: unknown }) {
    super(code, message, { cause });
    this.remedy = remedy;
  }
}

/** What to do about an error. */
export const remedyOf = (error: CapitanError): string =>
  error instanceof HubError ? error.remedy : codes[error.code].remedy;

/** How an API server says that a right is missing; what it says about Secrets is never repeated. */
const rightMissing = /User "[^"]*" cannot |RBAC permissions not currently held|message withheld/;

/** A reply of the hub, or none, as the person at the CLI can use it: `message` is told instead of its own. */
export function hubErrorOf(error: ApiError, message = error.message): CapitanError {
  const as = (code: Code, remedy: string) => new HubError(code, message, { remedy, cause: error });
  // What the kubeconfig names to log in with.
  if (error.cause instanceof CapitanError) return error.cause;
  if (error.status === 401)
    return as(
      "CredentialsRejected",
      "Log in to the hub anew, or set KUBECONFIG to a kubeconfig of the hub that it accepts.",
    );
  if (error.status === 404 && error.reason === "") return as("NotFound", codes.NotFound.remedy);
  // Any other reply without a reason is none of an API server.
  if (error.code === "Unreachable" || error.reason === "")
    return as(
      "Unreachable",
      "Check that the hub is up, and that KUBECONFIG is the hub's kubeconfig.",
    );
  if (error.status === 403 && rightMissing.test(error.detail))
    return as(
      "AccessDenied",
      "Have somebody grant you the right that the message names; if you have it in one namespace only, name that with -n.",
    );
  return error;
}

/** Runs `work` with a client of the hub. Throws HubConfigInvalid, and a HubError when it does not answer or lets nobody in. */
export async function withHub<T>(
  choice: HubArguments,
  work: (hub: KubeClient) => Promise<T>,
): Promise<T> {
  const config = await loadHubConfig(process.env, choice);
  const hub = connect(config);
  try {
    return await work(hub);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const does = error.status === 0 ? "does not answer" : "does not accept your credentials";
    const message = `the hub ${config.server} ${does}: ${error.detail}`;
    throw hubErrorOf(error, [0, 401].includes(error.status) ? message : error.message);
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
