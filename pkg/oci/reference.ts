import { CapitanError } from "../errors/index.ts";

/** Where an artifact is. `host` includes the port. Digest wins over tag. */
export type Reference = {
  readonly host: string;
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: string | undefined;
};

// OCI distribution-spec v1.1, "Pulling manifests".
const host = String.raw`(?<host>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?)`;
const repository = String.raw`(?<repository>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)`;
const pattern = new RegExp(
  String.raw`^oci:\/\/${host}\/${repository}(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?<digest>sha256:[a-f0-9]{64}))?$`,
);

/** Splits `oci://host:port/path:tag@digest`. Throws RefInvalid. */
export function parseReference(text: string): Reference {
  const groups = text.length <= 1024 ? pattern.exec(text)?.groups : undefined;
  const { host, repository, tag, digest } = groups ?? {};
  if (host === undefined || repository === undefined) {
    throw new CapitanError(
      "RefInvalid",
      `${text.slice(0, 200)} is not oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`,
    );
  }
  return { host, repository, tag, digest };
}

/** The reverse of `parseReference`. */
export function formatReference({ host, repository, tag, digest }: Reference): string {
  return `oci://${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** Whether a registry host is this machine: plain HTTP is the default there, as for Flux and docker. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3})(?::\d+)?$/.test(host);
}
