import { CapitanError } from "../errors/index.ts";

/**
 * The next page of a list, from `Link: <…>; rel="next"` (RFC 8288, distribution-spec "Listing
 * Tags"), as a path on the registry that was asked: a host in the link is not believed, since
 * proxies garble it and an attacker chooses it. undefined on the last page.
 */
export function nextPage(link: string | undefined, current: URL): string | undefined {
  const links = (link ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[^,;"]+(?:"[^"]*")?)*)/g);
  for (const [, target = "", parameters = ""] of links) {
    if (!/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next)(?=\s*(?:;|$))/i.test(parameters))
      continue;
    const url = URL.parse(target, current.toString());
    return url !== null && /^https?:$/.test(url.protocol) ? pathOf(url) : undefined;
  }
  return undefined;
}

/**
 * Where an upload goes on, from `Location`, relative or absolute, as a path on the registry itself.
 * Uploads never leave it: content and credentials would go to whom the reply names. A proxy that
 * garbles scheme or port is forgiven. Throws RegistryUnreachable.
 */
export function ownPath(location: string | undefined, current: URL): string {
  const url = location === undefined ? null : URL.parse(location, current.toString());
  if (url === null)
    throw new CapitanError(
      "RegistryUnreachable",
      `${current.host} does not say where the upload goes on`,
    );
  const sameHost =
    url.hostname === current.hostname && (url.port === current.port || url.port === "");
  if (!sameHost || !/^https?:$/.test(url.protocol))
    throw new CapitanError(
      "RegistryUnreachable",
      `${current.host} sends the upload to ${url.protocol}//${url.host}, which is refused`,
    );
  return pathOf(url);
}

/** Never with two slashes in front, which would be read as a host. */
const pathOf = ({ pathname, search }: URL) => pathname.replace(/^\/+/, "/") + search;
