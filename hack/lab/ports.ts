import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { cacheDir } from "./paths.ts";
import { anyAlive, isAlive } from "./processes.ts";

/** Below 32768, where Linux takes the ports of outgoing connections from. */
const firstPort = 20_000;
const blockSize = 250;
const blocks = 50;

/** What each port of a lab's block is for. */
const offsets = {
  etcd: 0,
  etcdPeer: 1,
  hub: 2,
  controllerManager: 3,
  capiWebhook: 4,
  capiHealth: 5,
  capiDiagnostics: 6,
  registry: 7,
  controllerMetrics: 8,
  hubEtcd: 9,
  hubEtcdPeer: 10,
  controllerInspector: 11,
  git: 12,
  ci: 13,
  receiver: 14,
  receiverMetrics: 15,
  firstWorkload: 20,
} as const;

export type Ports = { readonly [K in keyof typeof offsets]: number } & {
  readonly lastWorkload: number;
};

type Claim = { readonly labDir: string; readonly pid: number };

/** Claims a block of ports for the lab in `labDir`. Throws when all are taken. */
export async function claimPorts(labDir: string): Promise<Ports> {
  await mkdir(claimDir, { recursive: true });
  for (let block = 0; block < blocks; block++) {
    if (!(await claim(block, { labDir, pid: process.pid }))) continue;
    const ports = portsOf(firstPort + block * blockSize);
    if (await isFree(ports)) return ports;
    // Somebody who does not share our cache directory, another user for instance, is there.
    await releasePorts(ports);
  }
  throw new Error(`all ${blocks} port blocks are taken: end labs with npm run lab -- down`);
}

/** Gives the lab's block back. */
export async function releasePorts(ports: Ports): Promise<void> {
  await rm(claimFile((ports.etcd - firstPort) / blockSize), { force: true });
}

/** Throws when somebody listens on the port: it would be somebody else's etcd or API server. */
export async function assertFree(port: number, what: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", () =>
      reject(new Error(`port ${port} for ${what} is taken: not starting`)),
    );
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () =>
      server.close(() => resolve()),
    );
  });
}

async function isFree(ports: Ports): Promise<boolean> {
  const names = Object.keys(offsets) as (keyof typeof offsets)[];
  const checks = names.map((name) =>
    assertFree(ports[name], name).then(
      () => true,
      () => false,
    ),
  );
  return (await Promise.all(checks)).every(Boolean);
}

const claimDir = join(cacheDir, "ports");
const claimFile = (block: number) => join(claimDir, String(block));

function portsOf(base: number): Ports {
  const entries = Object.entries(offsets).map(([name, offset]) => [name, base + offset]);
  return {
    ...(Object.fromEntries(entries) as { [K in keyof typeof offsets]: number }),
    lastWorkload: base + blockSize - 1,
  };
}

async function claim(block: number, mine: Claim): Promise<boolean> {
  const file = claimFile(block);
  try {
    const handle = await open(file, "wx");
    await handle.writeFile(JSON.stringify(mine));
    await handle.close();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
  if (await isHeld(file, mine)) return false;
  await writeFile(file, JSON.stringify(mine));
  return true;
}

async function isHeld(file: string, mine: Claim): Promise<boolean> {
  const text = await readFile(file, "utf8").catch(() => "");
  if (text === "") return true; // somebody is just writing it
  const held = JSON.parse(text) as Claim;
  if (held.labDir === mine.labDir) return false;
  return isAlive(held.pid) || (await anyAlive(held.labDir));
}
