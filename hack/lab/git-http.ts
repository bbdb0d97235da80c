import { spawn } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Identity } from "./pki.ts";

export type GitHttpOptions = {
  /** The directory of the bare repositories. */
  readonly root: string;
  readonly tls?: Identity;
  /** Demand this value of `Authorization`. */
  readonly authorization?: string;
  /** Where to listen; by default where there is room. */
  readonly port?: number;
  /** Speak the first version of the protocol only. */
  readonly version1?: boolean;
};

/** A running server, and what it was asked. */
export type GitServer = {
  readonly url: string;
  readonly asked: readonly { readonly path: string; readonly authorization: string | undefined }[];
  readonly close: () => Promise<void>;
};

/** The real `git http-backend` behind a small HTTP(S) server on loopback. */
export async function startGitHttp(options: GitHttpOptions): Promise<GitServer> {
  const asked: { path: string; authorization: string | undefined }[] = [];
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    const { authorization } = request.headers;
    asked.push({ path: request.url ?? "", authorization });
    if (options.authorization !== undefined && authorization !== options.authorization) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      return;
    }
    backend(request, response, options).catch((error: unknown) => response.destroy(error as Error));
  };
  const server =
    options.tls === undefined ? createServer(handle) : createTlsServer(options.tls, handle);
  server.listen(options.port ?? 0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    asked,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One request as CGI (RFC 3875). */
async function backend(
  request: IncomingMessage,
  response: ServerResponse,
  options: GitHttpOptions,
): Promise<void> {
  const child = spawn("git", ["http-backend"], {
    env: environment(request, options),
    stdio: ["pipe", "pipe", "ignore"],
  });
  // A client may hang up before everything is written, and the program may end before all is read.
  const sent = pipeline(request, child.stdin).catch(() => undefined);
  let head: Buffer = Buffer.alloc(0);
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    if (response.headersSent) response.write(chunk);
    else head = answer(response, Buffer.concat([head, chunk]));
  }
  await sent;
  response.end();
}

function environment(request: IncomingMessage, { root, version1 }: GitHttpOptions) {
  const [path = "", query = ""] = (request.url ?? "").split("?");
  const protocol = request.headers["git-protocol"];
  return {
    PATH: process.env["PATH"],
    GIT_PROJECT_ROOT: root,
    GIT_HTTP_EXPORT_ALL: "1",
    GIT_CONFIG_NOSYSTEM: "1",
    REQUEST_METHOD: request.method,
    PATH_INFO: path,
    QUERY_STRING: query,
    CONTENT_TYPE: request.headers["content-type"] ?? "",
    ...(version1 === true || typeof protocol !== "string" ? {} : { GIT_PROTOCOL: protocol }),
  };
}

/** Begins the answer when the program has said all of its headers; else what it has said so far. */
function answer(response: ServerResponse, head: Buffer): Buffer {
  const end = head.indexOf("\r\n\r\n");
  if (end < 0) return head;
  const lines = head.toString("latin1", 0, end).split("\r\n");
  const headers = lines.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]);
  const status = headers.find(([name]) => name === "Status")?.[1] ?? "200";
  const others = headers.filter(([name]) => name !== "Status").flat();
  response.writeHead(Number.parseInt(status, 10), others);
  response.write(head.subarray(end + 4));
  return Buffer.alloc(0);
}
