import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listen } from "./listen.ts";

/** A request before its body. */
export type Incoming = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
};

export type Answer = { readonly status: number; readonly text: string };

/** Takes a body piece by piece. */
export type Reader = {
  /** False when it is too long: nothing more is read. */
  readonly take: (piece: Buffer) => boolean;
  readonly end: () => Answer;
};

export type Hooks = {
  /** host:port; port 0 takes a free one. */
  readonly address: string;
  /** Answers by the head alone, so that no body is read, or says who reads the body. */
  readonly open: (incoming: Incoming) => Answer | Reader;
  /** Told of every answer. */
  readonly answered: (status: number) => void;
  /** How long head and body may take together. Default 10 s. */
  readonly deadlineMs?: number;
};

const deadlineDefaultMs = 10_000;
const headersMs = 5_000;
/** Each may hold 64 KiB of a body; who comes when all are taken is turned away. */
const connectionsMax = 256;
const tooLong: Answer = { status: 413, text: "too long" };
const tooSlow: Answer = { status: 408, text: "too slow" };
const failed: Answer = { status: 500, text: "failed" };

/**
 * Serves deliveries until the signal aborts; gives the port. Meant for strangers: what is long, slow
 * or without end is cut off, and a connection is closed when its body was not read to the end.
 */
export function serveHooks(hooks: Hooks, signal: AbortSignal): Promise<number> {
  const { deadlineMs = deadlineDefaultMs, answered } = hooks;
  const server = createServer(
    // A head that comes too slowly is answered 408 by Node itself; it looks every second.
    { connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 },
    (request, response) => {
      const late = setTimeout(() => send(tooSlow), deadlineMs);
      const send = (answer: Answer) => {
        clearTimeout(late);
        if (response.headersSent || response.destroyed) return;
        answered(answer.status);
        reply(request, response, answer);
      };
      request.once("close", () => clearTimeout(late));
      receive(request, hooks.open, send);
    },
  );
  server.headersTimeout = headersMs;
  server.requestTimeout = deadlineMs + headersMs;
  server.maxConnections = connectionsMax;
  // Whoever asks whether to send gets the answer, not a "100 Continue" for a body that nobody wants.
  server.on("checkContinue", (request, response) => server.emit("request", request, response));
  return listen(server, hooks.address, signal);
}

function receive(
  request: IncomingMessage,
  open: Hooks["open"],
  send: (answer: Answer) => void,
): void {
  const { method = "", url = "", headers } = request;
  const guarded = (work: () => void) => {
    try {
      work();
    } catch {
      send(failed);
    }
  };
  // A connection that breaks off has nobody left to answer to.
  request.on("error", () => request.destroy());
  guarded(() => {
    const opened = open({ method, path: url.split("?")[0] ?? "", headers });
    if ("status" in opened) return send(opened);
    request.on("data", (piece: Buffer) =>
      guarded(() => {
        if (opened.take(piece)) return;
        request.removeAllListeners("data").pause();
        send(tooLong);
      }),
    );
    request.once("end", () => guarded(() => send(opened.end())));
  });
}

function reply(request: IncomingMessage, response: ServerResponse, { status, text }: Answer): void {
  const more = status === 503 ? { "retry-after": "30" } : {};
  const close = request.complete ? {} : { connection: "close" };
  response.writeHead(status, { "content-type": "text/plain", ...more, ...close });
  response.end(`${text}\n`);
}
