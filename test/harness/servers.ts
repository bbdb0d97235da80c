import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTP server on loopback, on a port that is free when none is named. For counterparts that no real program plays: hostile ones. */
export async function listen(handler: Handler, port = 0): Promise<Server> {
  const server = createServer(handler);
  server.listen(port, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return server;
}

export const portOf = (server: Server) => (server.address() as AddressInfo).port;

/** One request as a proxy sees it. */
export type Seen = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
};
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
};

/** What a proxy does to a request: passes it on, perhaps changed, and perhaps changes the answer. */
export type Meddle = (
  seen: Seen,
  pass: (changed?: Partial<Seen>) => Promise<Answer>,
) => Promise<Answer>;

/** A proxy before a real server, which meddles with what goes through. */
export function proxy(to: string, meddle: Meddle): Promise<Server> {
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = "GET", url: path = "/", headers } = request;
    const seen = { method, path, headers, body: Buffer.concat(await Array.fromAsync(request)) };
    const answer = await meddle(seen, (changed) => forward(to, { ...seen, ...changed }));
    response.writeHead(answer.status, answer.headers).end(answer.body);
  };
  return listen((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
}

function forward(to: string, { method, path, headers, body }: Seen): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = body.length === 0 ? {} : { "content-length": String(body.length) };
    const { "content-length": _length, "transfer-encoding": _encoding, ...rest } = headers;
    const sent = httpRequest(`http://${to}${path}`, { method, headers: { ...rest, ...length } });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const kept = Object.entries(response.headers).filter(
        (entry): entry is [string, string] => typeof entry[1] === "string",
      );
      Array.fromAsync(response as AsyncIterable<Buffer>).then(
        (chunks) =>
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(kept),
            body: Buffer.concat(chunks),
          }),
        reject,
      );
    });
    sent.end(body);
  });
}
