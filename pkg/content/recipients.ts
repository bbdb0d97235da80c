import type { ArtifactFiles } from "../oci/index.ts";
import { formatOf, isEncrypted, recipientsOf, SopsError } from "../sops/index.ts";

/**
 * The first encrypted file in a directory that names ended recipients of a cluster and none that it
 * uses: nobody there could open it. What cannot be read is for others to complain about.
 */
export function fileForNobody(
  files: ArtifactFiles,
  directory: string,
  { used, ended }: { readonly used: readonly string[]; readonly ended: readonly string[] },
): string | undefined {
  const prefix = directory.replace(/^(?:\.?\/)+/, "").replace(/\/?$/, "/");
  for (const [path, { content }] of files) {
    if (prefix !== "/" && !path.startsWith(prefix)) continue;
    const named = namesIn(path, Buffer.from(content));
    const isOld = ended.some((name) => named.includes(name));
    if (isOld && !used.some((name) => named.includes(name))) return path;
  }
  return undefined;
}

function namesIn(path: string, bytes: Buffer): readonly string[] {
  const format = formatOf(path);
  if (!isEncrypted(bytes, format)) return [];
  try {
    return recipientsOf(bytes, format).groups.flat();
  } catch (error) {
    if (error instanceof SopsError) return [];
    throw error;
  }
}
