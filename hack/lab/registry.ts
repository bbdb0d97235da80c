import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assertFree } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import { until } from "./wait.ts";

export type RegistryOptions = {
  readonly name: string;
  readonly port: number;
  /** Serve TLS with this certificate. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** Demand a bearer token from this realm; the token is checked against the certificate in `bundle`. */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly bundle: string;
  };
  /** Demand a user of this htpasswd file. */
  readonly htpasswd?: string;
  /** Tell of every push there, with this value of `Authorization`. */
  readonly notify?: { readonly url: string; readonly authorization: string };
};

/** Starts a real OCI registry (distribution) on loopback; returns its host:port when it answers. */
export async function startRegistry(
  labDir: string,
  binary: string,
  options: RegistryOptions,
): Promise<string> {
  const { name, port, tls } = options;
  await assertFree(port, name);
  const dir = join(labDir, name);
  await mkdir(dir, { recursive: true });
  const config = {
    version: "0.1",
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(dir, "data") }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      ...(tls === undefined ? {} : { tls: { certificate: tls.certFile, key: tls.keyFile } }),
    },
    ...authOf(options),
    ...notificationsOf(options),
  };
  const file = join(dir, "config.yml");
  await writeFile(file, JSON.stringify(config));
  await launch(labDir, {
    name,
    command: binary,
    args: ["serve", file],
    env: { OTEL_TRACES_EXPORTER: "none" },
  });
  await until(
    async () => {
      await assertAlive(labDir, name);
      return isListening(port);
    },
    { deadlineMs: 20_000, what: name },
  );
  return `127.0.0.1:${port}`;
}

function authOf({ token, htpasswd }: RegistryOptions) {
  if (token !== undefined)
    return {
      auth: {
        token: {
          realm: token.realm,
          service: token.service,
          issuer: token.issuer,
          rootcertbundle: token.bundle,
        },
      },
    };
  return htpasswd === undefined ? {} : { auth: { htpasswd: { realm: "lab", path: htpasswd } } };
}

/** As in docs/receivers.md. */
function notificationsOf({ notify }: RegistryOptions) {
  if (notify === undefined) return {};
  const { url, authorization } = notify;
  const headers = { Authorization: [authorization] };
  const endpoint = { name: "capitan", url, headers, timeout: "2s", threshold: 5, backoff: "1s" };
  return { notifications: { endpoints: [endpoint] } };
}

async function isListening(port: number): Promise<boolean> {
  const { connect } = await import("node:net");
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
