import type { Layer, RevisionLayer } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import { parseValues } from "../template/index.ts";
import type { ConfigMaps, Reader } from "./ports.ts";

/** What ConfigMaps may bring into one revision; etcd takes 1.5 MiB for an object. */
const copiedBytesMax = 512 * 1024;

type ValuesFrom = NonNullable<Layer["valuesFrom"]>;
type Copied = NonNullable<RevisionLayer["valuesFrom"]>;

/**
 * `valuesFrom` as a revision has it: with what its ConfigMaps hold now. Secrets stay references.
 * Throws ValuesNotFound, InputInvalid, ManifestInvalid.
 */
export async function copyValues(
  valuesFrom: ValuesFrom,
  reader: Reader,
  configMaps: ConfigMaps,
  signal: AbortSignal,
): Promise<Copied> {
  let bytes = 0;
  const copied: Copied[number][] = [];
  for (const { kind, name, key, optional } of valuesFrom) {
    if (kind === "Secret") {
      copied.push({ kind, name, key, optional });
      continue;
    }
    const text = await textOf({ ...reader, name, key, optional }, configMaps, signal);
    bytes += text.length;
    if (bytes > copiedBytesMax)
      throw new CapitanError("InputInvalid", `valuesFrom brings more than ${copiedBytesMax} bytes`);
    const values = parseValues(text, `ConfigMap ${reader.namespace}/${name}, key ${key}`);
    copied.push({ kind, name, key, values });
  }
  return copied;
}

type Wanted = Reader & {
  readonly name: string;
  readonly key: string;
  readonly optional: boolean;
};

async function textOf(
  { as, namespace, name, key, optional }: Wanted,
  configMaps: ConfigMaps,
  signal: AbortSignal,
): Promise<string> {
  const found = await configMaps.configMapAs(as, { namespace, name }, signal);
  const text = asString(asMap(found?.["data"])[key]);
  if (text !== undefined || optional) return text ?? "";
  const what = `ConfigMap ${namespace}/${name}`;
  const why = found === undefined ? `${what} does not exist` : `${what} has no key ${key}`;
  throw new CapitanError("ValuesNotFound", why);
}
