import type { KubeObject, Resource } from "../object/index.ts";
import { ApiError } from "./api-error.ts";
import { objectsMax, type KubeClient, type ListOptions, type ListResult } from "./client.ts";
import { nameKey } from "./path.ts";
import type { WatchEvent } from "./watch.ts";

/** A server that sends nothing new for so long, although the end is missing, does not know this way to list. */
const silenceMs = 10_000;

/** What is there, and what happens afterwards. */
export type StreamedList = ListResult & { readonly events: AsyncGenerator<WatchEvent> };

/**
 * List and watch in one request (KEP-3157): a watch that first sends what is there, read by quorum, and then a
 * bookmark that says so. Throws ApiError when the API server does not do that: 400 or 422 if it says so,
 * 504 when nothing new comes for 10 seconds, when it ends before the bookmark, or sends more than there can be.
 */
export async function streamList(
  client: KubeClient,
  resource: Resource,
  options: ListOptions & { readonly idleMs: number; readonly timeoutSeconds: number },
): Promise<StreamedList> {
  const silent = new AbortController();
  const wait = () => setTimeout(() => silent.abort(), silenceMs);
  let timer = wait();
  const signals = [silent.signal, options.signal].filter((signal) => signal !== undefined);
  const events = client.watch(resource, { ...options, signal: AbortSignal.any(signals) });
  const found = new Map<string, KubeObject>();
  try {
    for (;;) {
      const next = await events.next();
      if (next.done === true || found.size > objectsMax) throw incomplete(resource);
      const event = next.value;
      if (event.type === "BOOKMARK" && event.isInitialEnd)
        return { items: [...found.values()], resourceVersion: event.resourceVersion, events };
      if (event.type !== "BOOKMARK" && note(found, event)) {
        clearTimeout(timer);
        timer = wait();
      }
    }
  } catch (error) {
    await events.return(undefined);
    throw silent.signal.aborted ? incomplete(resource) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Takes note, and says whether it is one more object. What has changed since the server began may come too. */
function note(
  found: Map<string, KubeObject>,
  { type, object }: WatchEvent & { readonly object: KubeObject },
): boolean {
  const before = found.size;
  if (type === "DELETED") found.delete(nameKey(object));
  else found.set(nameKey(object), object);
  return found.size > before;
}

const incomplete = ({ plural }: Resource) =>
  new ApiError(`watch ${plural}`, "what is there has not come whole", { status: 504 });
