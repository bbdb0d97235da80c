import { isEstablished, type Mirror } from "../drift/index.ts";
import { kindKey } from "./drift-watch.ts";
import { kindOfKey } from "./hands.ts";
import type { HealthWatch } from "./health-watch.ts";
import { coreResources } from "./resources.ts";

const deadlineMs = 15_000;
const kinds = [coreResources.definition, coreResources.namespace];

/**
 * Waits until CRDs are Established and Namespaces Active, as of what the mirror knows of them; gives the keys
 * of those that are. Whoever looks at their health next finds them watched. Throws what made the watch fail.
 */
export async function awaitEstablished(
  watch: HealthWatch,
  mirror: Mirror,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
  const established = () =>
    keys.filter((key) => {
      const live = mirror.get(key);
      const object = live === undefined ? undefined : watch.seen(kindOfKey(key), key, live);
      return object !== undefined && isEstablished(object);
    });
  const waited = kinds.filter((kind) => keys.some((key) => kindOfKey(key) === kindKey(kind)));
  const isDone = () => established().length === keys.length;
  await watch.until(waited, { keys, isDone }, deadline);
  return new Set(established());
}
