import { spawn } from "node:child_process";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import ssh2 from "ssh2";

export type GitSshOptions = {
  /** The directory of the bare repositories. */
  readonly root: string;
  /** The server's private keys. */
  readonly hostKeys: readonly string[];
  /** The public key that is let in. */
  readonly deployKey: string;
  /** Public keys that are let in to read only; more may come while the server runs. */
  readonly readers?: readonly string[];
  /** Speak the first version of the protocol only. */
  readonly version1?: boolean;
  /** Take pushes too; else they are refused as GitHub refuses them to a deploy key. */
  readonly writable?: boolean;
};

/** A running server, and the commands that it was given. */
export type GitSshServer = {
  readonly host: string;
  readonly commands: readonly string[];
  readonly close: () => Promise<void>;
};

/** A real SSH server on loopback that runs `git-upload-pack`, and `git-receive-pack` where it is told to, for who shows the deploy key, and nothing else. */
export async function startGitSsh(options: GitSshOptions): Promise<GitSshServer> {
  const commands: string[] = [];
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [...options.hostKeys] }, (client) => {
    let isReader = false;
    clients.add(client);
    client.on("close", () => clients.delete(client));
    client.on("error", () => clients.delete(client));
    client.on("authentication", (context) => {
      isReader = options.readers?.some((key) => isLetIn(context, key)) === true;
      if (isReader || isLetIn(context, options.deployKey)) context.accept();
      else context.reject(["publickey"]);
    });
    client.on("ready", () =>
      client.on("session", (accept) => {
        const writable = options.writable === true && !isReader;
        serve(accept(), { ...options, writable }, commands);
      }),
    );
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    commands,
    close: async () => {
      for (const client of clients) client.end();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function isLetIn(context: ssh2.AuthContext, deployKey: string): boolean {
  const allowed = ssh2.utils.parseKey(deployKey);
  if (context.method !== "publickey" || allowed instanceof Error || context.username !== "git")
    return false;
  if (!context.key.data.equals(allowed.getPublicSSH())) return false;
  if (context.signature === undefined || context.blob === undefined) return true;
  return allowed.verify(context.blob, context.signature, context.hashAlgo) === true;
}

function serve(
  session: ssh2.Session,
  { root, version1, writable }: GitSshOptions,
  commands: string[],
): void {
  let protocol: string | undefined;
  session.on("env", (accept, _reject, { key, val }) => {
    if (key === "GIT_PROTOCOL" && version1 !== true) protocol = val;
    accept?.();
  });
  session.on("exec", (accept, reject, { command }) => {
    commands.push(command);
    const [, service, path] =
      /^git-(upload-pack|receive-pack) '(\/[a-z0-9./-]+)'$/.exec(command) ?? [];
    if (service === undefined || path === undefined) return reject();
    const channel = accept();
    if (service === "receive-pack" && writable !== true) {
      channel.stderr.write(
        "ERROR: The key you are authenticating with has been marked as read only.\n",
      );
      channel.exit(1);
      return channel.end();
    }
    const child = spawn("git", [service, join(root, path)], {
      env: {
        PATH: process.env["PATH"],
        GIT_CONFIG_NOSYSTEM: "1",
        ...(protocol === undefined ? {} : { GIT_PROTOCOL: protocol }),
      },
    });
    channel.pipe(child.stdin);
    child.stdin.on("error", () => undefined);
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    child.once("close", (code) => {
      channel.exit(code ?? 1);
      channel.end();
    });
    channel.once("close", () => child.kill());
  });
}
