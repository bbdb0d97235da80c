import { readFile } from "node:fs/promises";
import { asList, asMap, asString, parseJson, type JsonMap } from "../../pkg/json/index.ts";

const replyMs = 30_000;
const mega = 2 ** 20;

/** What a Node process holds after a full garbage collection, in MiB. */
export type Held = { readonly rssMb: number; readonly heapMb: number };

/** Collects the garbage of a process that was started with `--inspect`, by its inspector, and measures. */
export async function heldAfterCollection(pid: number, inspectorPort: number): Promise<Held> {
  const inspector = await openInspector(inspectorPort);
  try {
    await inspector.call("HeapProfiler.collectGarbage", {});
    // A second time for what the first one only made unreachable.
    await inspector.call("HeapProfiler.collectGarbage", {});
    const heap = await inspector.call("Runtime.getHeapUsage", {});
    return { rssMb: await rssMb(pid), heapMb: Number(heap["usedSize"]) / mega };
  } finally {
    inspector.close();
  }
}

async function rssMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

type Inspector = {
  /** Calls a method of the DevTools protocol and gives its result. */
  readonly call: (method: string, params: object) => Promise<JsonMap>;
  readonly close: () => void;
};

async function openInspector(port: number): Promise<Inspector> {
  const list = asList(await (await fetch(`http://127.0.0.1:${port}/json/list`)).json());
  const url = asString(asMap(list[0])["webSocketDebuggerUrl"]);
  if (url === undefined) throw new Error(`no inspector answers on port ${port}`);
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error("the inspector refused")), {
      once: true,
    });
  });
  let id = 0;
  const call = (method: string, params: object) => {
    id += 1;
    const reply = replyTo(socket, id, method);
    socket.send(JSON.stringify({ id, method, params }));
    return reply;
  };
  return { call, close: () => socket.close() };
}

function replyTo(socket: WebSocket, id: number, method: string): Promise<JsonMap> {
  const { promise, resolve, reject } = Promise.withResolvers<JsonMap>();
  const timer = setTimeout(() => reject(new Error(`no reply to ${method}`)), replyMs);
  const listen = ({ data }: MessageEvent) => {
    const message = asMap(parseJson(String(data)));
    if (message["id"] !== id) return;
    socket.removeEventListener("message", listen);
    clearTimeout(timer);
    resolve(asMap(message["result"]));
  };
  socket.addEventListener("message", listen);
  return promise;
}
