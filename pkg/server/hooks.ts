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
/** How long what comes after the answer is thrown away. */
const lingerMs = 500;
const tooLong: Answer = { status: 413, text: "too long" };
const tooSlow: Answer = { status: 408, text: "too slow" };
const failed: Answer = { status: 500, text: "failed" };

/**
 * Serves deliveries until the signal aborts; gives the port. Meant for strangers: what is long, slow
 * or without end is answered and cut off.
 */
export function serveHooks(hooks: Hooks, signal: AbortSignal): Promise<number> {
  const { deadlineMs = deadlineDefaultMs } = hooks;
  const server = createServer(
    // A head that comes too slowly is answered 408 by Node itself; it looks every second.
    { connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 },
    (request, response) => receive(request, response, { ...hooks, deadlineMs }),
  );
  server.headersTimeout = headersMs;
  server.requestTimeout = deadlineMs + headersMs;
  server.maxConnections = connectionsMax;
  // Whoever asks whether to send gets the answer, not a "100 Continue" for a body that nobody wants.
  server.on("checkContinue", (request, response) => server.emit("request", request, response));
  return listen(server, hooks.address, signal);
}

/** One request: answered once, by its head, by its whole body, or because it is too long or too slow. */
function receive(
  request: IncomingMessage,
  response: ServerResponse,
  { open, answered, deadlineMs }: Required<Hooks>,
): void {
  const { method = "", url = "", headers } = request;
  let isOpen = true;
  const settle = (decide: () => Answer | undefined) => {
    if (!isOpen) return;
    const answer = attempt(decide);
    if (answer === undefined) return;
    isOpen = false;
    clearTimeout(late);
    answered(answer.status);
    reply(request, response, answer);
  };
  const late = setTimeout(() => settle(() => tooSlow), deadlineMs);
  const leave = () => {
    isOpen = false;
    clearTimeout(late);
  };
  // A connection that breaks off has nobody left to answer to.
  request.once("error", leave).once("close", leave);
  settle(() => {
    const opened = open({ method, path: url.split("?")[0] ?? "", headers });
    if ("status" in opened) return opened;
    request.on("data", (piece: Buffer) => settle(() => (opened.take(piece) ? undefined : tooLong)));
    request.once("end", () => settle(() => opened.end()));
    return undefined;
  });
}

function attempt<T>(decide: () => T): T | Answer {
  try {
    return decide();
  } catch {
    return failed;
  }
}

function reply(request: IncomingMessage, response: ServerResponse, { status, text }: Answer): void {
  const more = status === 503 ? { "retry-after": "30" } : {};
  response.writeHead(status, { "content-type": "text/plain", ...more });
  response.end(`${text}\n`);
  if (request.complete) return;
  // Closed at once, the answer could be lost (RFC 9112, 9.6): what still comes is thrown away for a moment.
  const cut = setTimeout(() => request.destroy(), lingerMs);
  request.once("end", () => clearTimeout(cut)).once("close", () => clearTimeout(cut));
  request.resume();
}
