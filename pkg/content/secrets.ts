import { CapitanError } from "../errors/index.ts";
import { asMap } from "../json/index.ts";
import { idOf, nameOf, type KubeObject } from "../object/index.ts";

/**
 * Refuses Secrets that lie in a source in cleartext although the layer decrypts: somebody forgot to
 * encrypt them. Secrets without values pass. Throws PlaintextSecret.
 */
export function refusePlaintext(objects: readonly KubeObject[]): void {
  const found = objects.find(isSecretWithValues);
  if (found === undefined) return;
  const what = `${nameOf(idOf(found))} lies in the source in cleartext`;
  throw new CapitanError("PlaintextSecret", what);
}

/**
 * Refuses what still has SOPS's metadata: it was not opened, and as it is nobody can use it.
 * Throws SopsFileInvalid.
 */
export function refuseCiphertext(objects: readonly object[], where: string): void {
  const found = objects.find((object) => Object.hasOwn(object, "sops"));
  if (found === undefined) return;
  const name = "metadata" in found ? `${nameOf(idOf(found as KubeObject))} of ${where}` : where;
  const what = `${name} has metadata of SOPS, but could not be recognised as an encrypted file; templates (*.hbs) are never opened`;
  throw new CapitanError("SopsFileInvalid", what);
}

function isSecretWithValues(object: KubeObject): boolean {
  if (object.kind !== "Secret" || object.apiVersion !== "v1") return false;
  return [object["data"], object["stringData"]].some((map) => Object.keys(asMap(map)).length > 0);
}
