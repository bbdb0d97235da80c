import type { Fleet } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";

/** Which Fleets the controller trusts with its own rights, and which ServiceAccount the others have when they name none. */
export type Tenancy = {
  readonly platformNamespaces: ReadonlySet<string>;
  readonly defaultServiceAccount?: string | undefined;
};

/**
 * The user as whom everything is read and written for a Fleet, on the hub and on its clusters;
 * undefined for the controller itself. Throws NamespaceNotAllowed for a Fleet that may not do without
 * a ServiceAccount and names none.
 */
export function userOf({ metadata, spec }: Fleet, tenancy: Tenancy): string | undefined {
  const { namespace = "" } = metadata;
  const { platformNamespaces, defaultServiceAccount } = tenancy;
  const isPlatform = platformNamespaces.has(namespace);
  const account = spec.serviceAccountName ?? (isPlatform ? undefined : defaultServiceAccount);
  if (account !== undefined) return accountUser(namespace, account);
  if (isPlatform) return undefined;
  throw new CapitanError(
    "NamespaceNotAllowed",
    `Fleet ${namespace}/${metadata.name} names no serviceAccountName, and namespace ${namespace} is not one of the platform namespaces (${[...platformNamespaces].join(", ")})`,
  );
}

/** How a ServiceAccount is called as a user, on every cluster. */
export function accountUser(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`;
}
