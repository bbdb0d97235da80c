import { createServer, type ServerResponse } from "node:http";
import { listen } from "./listen.ts";

export type Endpoint = {
  /** host:port; port 0 takes a free one. */
  readonly address: string;
  /** The metrics as text, and what kind of text it is. */
  readonly scrape: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Whether work goes on: a process that is stuck must be started again. */
  readonly healthy: () => boolean;
  /** Whether caches are filled and, with election, this process leads or waits to. */
  readonly ready: () => boolean;
};

/** Serves /healthz, /readyz and /metrics until the signal aborts. Gives the port. */
export function serve({ address, ...endpoint }: Endpoint, signal: AbortSignal): Promise<number> {
  const server = createServer((request, response) => {
    // One scrape that fails is no reason to end.
    answer(request.url ?? "", response, endpoint).catch(() => send(response, 500, "failed"));
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  return listen(server, address, signal);
}

async function answer(
  path: string,
  response: ServerResponse,
  { scrape, healthy, ready }: Omit<Endpoint, "address">,
): Promise<void> {
  if (path === "/healthz")
    return healthy() ? send(response, 200, "ok") : send(response, 503, "stuck");
  if (path === "/readyz")
    return ready() ? send(response, 200, "ok") : send(response, 503, "not ready");
  if (path !== "/metrics") return send(response, 404, "not found");
  const { contentType, text } = await scrape();
  response.setHeader("content-type", contentType);
  send(response, 200, text);
}

function send(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.end(text);
}
