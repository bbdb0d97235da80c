import type { Server } from "node:http";

/** Binds a server to host:port, port 0 for a free one, until the signal aborts. Gives the port. */
export async function listen(
  server: Server,
  address: string,
  signal: AbortSignal,
): Promise<number> {
  const colon = address.lastIndexOf(":");
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(
      { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) },
      resolve,
    );
  });
  signal.addEventListener("abort", () => server.close(), { once: true });
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? bound.port : 0;
}
