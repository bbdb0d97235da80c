import { CapitanError } from "../errors/index.ts";
import { mediaTypes, parseDocument, type Descriptor } from "../oci/index.ts";

/** The tag under which the referrers of a digest are kept where the registry has no referrers API (distribution-spec "Referrers Tag Schema"). */
export function referrersTag(digest: string): string {
  return digest.replace(":", "-");
}

/** The referrers that an index lists, of one artifact type when one is asked for. Throws ArtifactCorrupt. */
export function parseReferrers(
  bytes: Uint8Array,
  artifactType: string | undefined,
  what: string,
): readonly Descriptor[] {
  const document = parseDocument(bytes, what);
  if (document.kind !== "index")
    throw new CapitanError("ArtifactCorrupt", `${what}: the list of referrers is not an index`);
  return document.manifests.filter(
    (referrer) => artifactType === undefined || referrer.artifactType === artifactType,
  );
}

/** The index of the referrers tag with one more referrer; undefined when it is there already. Throws ArtifactCorrupt. */
export function addReferrer(
  index: Uint8Array | undefined,
  referrer: Descriptor,
  what: string,
): Buffer | undefined {
  const referrers = index === undefined ? [] : parseReferrers(index, undefined, what);
  if (referrers.some(({ digest }) => digest === referrer.digest)) return undefined;
  const manifests = [...referrers, referrer];
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }));
}
