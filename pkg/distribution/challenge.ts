/** What a registry asks for in `WWW-Authenticate`. */
export type Challenge =
  | { readonly scheme: "basic" }
  | {
      readonly scheme: "bearer";
      readonly realm: URL;
      readonly service: string;
      readonly scope: string;
    };

/** Reads a challenge (RFC 9110 §11.6.1, distribution-spec token authentication); undefined when it is neither Basic nor Bearer. */
export function parseChallenge(header: string): Challenge | undefined {
  if (/^basic\b/i.test(header)) return { scheme: "basic" };
  if (!/^bearer\s/i.test(header)) return undefined;
  const pairs = header.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi);
  const values = new Map([...pairs].map(([, key = "", value = ""]) => [key.toLowerCase(), value]));
  const realm = URL.parse(values.get("realm") ?? "");
  if (realm === null) return undefined;
  return {
    scheme: "bearer",
    realm,
    service: values.get("service") ?? "",
    scope: values.get("scope") ?? "",
  };
}

/**
 * Whether credentials for a registry may be sent to the token server that it names. A hostile or
 * hijacked registry names somebody else's: so only the same host, its parent domain
 * (registry.gitlab.com and gitlab.com), or a host below that (registry-1.docker.io and
 * auth.docker.io), and never without TLS unless the registry itself goes without.
 */
export function mayReceiveCredentials(
  realm: URL,
  registryHost: string,
  insecure: boolean,
): boolean {
  if (realm.protocol !== "https:" && !(insecure && realm.protocol === "http:")) return false;
  const registry = registryHost.replace(/:\d+$/, "");
  if (realm.hostname === registry) return true;
  const parent = registry.split(".").slice(1).join(".");
  if (/^[\d.]+$/.test(registry) || belongsToMany(parent)) return false;
  return realm.hostname === parent || realm.hostname.endsWith(`.${parent}`);
}

/** Domains below which everybody has a name: `io`, `co.uk`, and those where clouds put their customers. */
function belongsToMany(domain: string): boolean {
  return (
    !domain.includes(".") ||
    /^(?:(?:ac|co|com|edu|gov|go|net|ne|org|or)\.[a-z]{2}|azurecr\.(?:io|cn|us))$/.test(domain) ||
    /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|on\.aws)$/.test(domain)
  );
}
