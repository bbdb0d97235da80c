// The controller process: configuration, adapters, reconcilers, run, drain.
import { randomBytes } from "node:crypto";
import { isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { connect, Discovery, LeaderLease, loadHubConfig } from "../../pkg/kube/index.ts";
import { newLog } from "../../pkg/log/index.ts";
import { newMetrics, serve } from "../../pkg/server/index.ts";
import { Connections } from "../../pkg/workload/index.ts";
import { optionsOrExit, type Options } from "./options.ts";
import { buildControllers } from "./wiring.ts";

const drainMs = 10_000;

async function main(options: Options): Promise<void> {
  const log = newLog(options.logLevel);
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());

  const config = await loadHubConfig(process.env);
  const mayWrite = () => !options.leaderElection || lease.isHeld();
  const client = connect(config, "capitan-controller", mayWrite);
  const clock = {
    now: () => new Date(),
    monotonicMs: () => performance.now(),
    random: Math.random,
  };
  const connections = new Connections({
    onHealthChange: (key) => controllers.clusterQueue.add(key, { afterMs: 50, light: true }),
    onDrift: (key) => controllers.clusterQueue.add(key, { light: true }),
    onTrouble: (key) => controllers.clusterQueue.add(key, { afterMs: 200 }),
    mayWrite,
    now: clock.now,
    random: clock.random,
    randomKey: () => randomBytes(32),
  });
  const metrics = newMetrics({ connectedClusters: () => connections.size });
  const controllers = buildControllers({
    client,
    discovery: new Discovery(client),
    connections,
    options,
    log,
    clock,
    metrics,
  });

  let synced = false;
  const port = await serve(
    { address: options.metricsAddress, registry: metrics.registry, ready: () => synced },
    stopping.signal,
  );
  log.info({ port, namespaces: [...options.platformNamespaces] }, "serving health and metrics");
  const caches = controllers.hub.run(stopping.signal);
  await Promise.race([controllers.hub.synced(), caches]);
  synced = true;

  // The Lease has a connection of its own: it is renewed whatever else waits.
  const leaseClient = connect(config, "capitan-controller");
  const lease = new LeaderLease(leaseClient, {
    namespace: options.systemNamespace,
    name: "capitan-controller",
    identity: options.identity,
    monotonicMs: clock.monotonicMs,
    now: clock.now,
    failed: (error) => log.warn({}, `Lease: ${messageOf(error)}`),
  });
  if (options.leaderElection) await lease.acquire(stopping.signal);
  log.info({ identity: options.identity }, "leading");
  controllers.start(stopping.signal);
  const outcome = options.leaderElection
    ? await lease.hold(stopping.signal)
    : await stopped(stopping.signal);
  if (outcome === "lost") {
    // Whoever leads now may write already: stop at once, without draining.
    log.error({ code: "LeaseLost" }, "lost the Lease");
    process.exit(1);
  }
  log.info({}, "draining");
  await Promise.race([
    controllers.drained(),
    new Promise((resolve) => setTimeout(resolve, drainMs).unref()),
  ]);
  await connections.close();
  await Promise.all([client.close(), leaseClient.close()]);
}

function stopped(signal: AbortSignal): Promise<"released"> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve("released"), { once: true }),
  );
}

try {
  await main(optionsOrExit(process.argv.slice(2)));
  process.exit(0);
} catch (error) {
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  console.error(`✗ ${code}${messageOf(error)}`);
  process.exit(1);
}
