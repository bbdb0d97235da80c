// The controller process: configuration, adapters, reconcilers, run, drain.
import { randomBytes } from "node:crypto";
import { isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { connect, Discovery, loadHubConfig } from "../../pkg/kube/index.ts";
import { newLog } from "../../pkg/log/index.ts";
import { DriftTimes } from "../../pkg/pace/index.ts";
import { Notifier, outcomes } from "../../pkg/notify/index.ts";
import { Renderer } from "../../pkg/render/index.ts";
import { newMetrics, serve, type ControllerMetrics } from "../../pkg/server/index.ts";
import { Connections } from "../../pkg/workload/index.ts";
import { ownVersion } from "../own-version.ts";
import { gaugesOf } from "./gauges.ts";
import { leadership } from "./leadership.ts";
import { optionsFrom, type Options } from "./options.ts";
import { buildControllers } from "./wiring.ts";

/** By this name the hub's audit log shows what the controller did. */
const userAgent = "capitan-controller";
const drainMs = 10_000;
const notifyDrainMs = 2_000;
/** Looks end by themselves long before; one that does not hangs, and only a new process helps. */
const stuckMs = 15 * 60_000;

const clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  random: Math.random,
};

async function main(options: Options): Promise<void> {
  const log = newLog(options.logLevel);
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());

  const config = await loadHubConfig(process.env);
  // The Lease has a connection of its own: it is renewed whatever else waits.
  const leaseClient = connect(config, userAgent);
  const leader = leadership(leaseClient, options, log);
  const client = connect(config, userAgent, leader.isHeld);
  const driftTimes = new DriftTimes();
  const connections = new Connections({
    onHealthChange: (key) => controllers.clusterQueue.add(key, { afterMs: 50, light: true }),
    onDrift: (key) => {
      driftTimes.seen(key, clock.monotonicMs());
      controllers.clusterQueue.add(key, { light: true });
    },
    onTrouble: (key) => controllers.clusterQueue.add(key, { afterMs: 200 }),
    management: config,
    mayWrite: leader.isHeld,
    now: clock.now,
    random: clock.random,
    randomKey: () => randomBytes(32),
  });
  const version = await ownVersion();
  const metrics = newMetrics(() =>
    gaugesOf({ version, leading: leader.isHeld(), connections, controllers }),
  );
  const notifier = newNotifier(options, metrics, log);
  const discovery = new Discovery(client);
  const renderer = new Renderer();
  const adapters = { client, discovery, connections, notifier, renderer };
  const controllers = buildControllers({ ...adapters, options, log, clock, metrics, driftTimes });

  let synced = false;
  const health = {
    healthy: () => controllers.queues().every((queue) => queue.longestRunningMs < stuckMs),
    ready: () => synced,
  };
  const endpoint = { address: options.metricsAddress, scrape: metrics.scrape, ...health };
  const port = await serve(endpoint, stopping.signal);
  log.info({ port, namespaces: [...options.platformNamespaces] }, "serving health and metrics");
  const caches = controllers.hub.run(stopping.signal);
  await Promise.race([controllers.synced(stopping.signal), caches]);
  synced = true;

  if (await leader.acquire(stopping.signal)) {
    log.info({ identity: options.identity }, "leading");
    controllers.start(stopping.signal);
    if ((await leader.hold(stopping.signal)) === "lost") {
      // Whoever leads now may write already: stop at once, without draining.
      log.error({ code: "LeaseLost" }, "lost the Lease");
      process.exit(1);
    }
  }
  log.info({}, "draining");
  await Promise.race([
    controllers.drained(),
    new Promise((resolve) => setTimeout(resolve, drainMs).unref()),
  ]);
  await notifier?.drained(notifyDrainMs);
  await connections.close();
  await Promise.all([client.close(), leaseClient.close(), renderer.close()]);
}

/** Sends events where --events-addr says, if it does. */
function newNotifier(
  { eventsAddress: address }: Options,
  metrics: ControllerMetrics,
  log: ReturnType<typeof newLog>,
): Notifier | undefined {
  if (address === undefined) return undefined;
  const failed = (message: string) => log.warn({}, `notification: ${message}`);
  // A series that begins with the first loss has not increased by it: no alert would tell of that.
  for (const outcome of outcomes) metrics.notified(outcome, 0);
  return new Notifier({ address, done: metrics.notified, failed, monotonicMs: clock.monotonicMs });
}

try {
  await main(optionsFrom(process.argv.slice(2)));
  process.exit(0);
} catch (error) {
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  console.error(`✗ ${code}${messageOf(error)}`);
  process.exit(1);
}
