// The receiver process: deliveries of strangers in, requests to look at sources now out.
import { isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { connect, loadHubConfig } from "../../pkg/kube/index.ts";
import { newLog } from "../../pkg/log/index.ts";
import {
  newReceiverMetrics,
  serve,
  serveHooks,
  type ReceiverMetrics,
  type Sample,
} from "../../pkg/server/index.ts";
import { Receiving } from "../../pkg/wake/index.ts";
import { ownVersion } from "../own-version.ts";
import { optionsFrom, type Options } from "./options.ts";

/** By this name the hub's audit log shows what the receiver did. */
const userAgent = "capitan-receiver";
const drainMs = 5_000;
/** Writes end by themselves long before; one that does not hangs, and only a new process helps. */
const stuckMs = 5 * 60_000;

const clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  random: Math.random,
};

async function main(options: Options): Promise<void> {
  const log = newLog(options.logLevel);
  const stopping = new AbortController();
  const { signal } = stopping;
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stopping.abort());

  const client = connect(await loadHubConfig(process.env), userAgent);
  const version = await ownVersion();
  const metrics: ReceiverMetrics = newReceiverMetrics(() => gaugesOf(version, receiving));
  const receiving = new Receiving({
    ...options,
    client,
    clock,
    requested: (fleet, error) => {
      metrics.requested(error === undefined ? "written" : "failed");
      if (error === undefined) log.info({ fleet }, "asked to look at its sources");
      else log.warn({ fleet, code: codeOf(error) }, messageOf(error));
    },
    statusFailed: (receiver, error) =>
      log.warn({ receiver, code: codeOf(error) }, messageOf(error)),
    failed: (kind, error) => {
      metrics.watchFailed(kind);
      log.warn({ kind, code: codeOf(error) }, `watch: ${messageOf(error)}`);
    },
  });
  const health = {
    healthy: () => receiving.longestRunningMs < stuckMs,
    ready: () => receiving.isSynced,
  };
  const open = (incoming: Parameters<Receiving["open"]>[0]) => receiving.open(incoming);
  const { address, metricsAddress, namespaces } = options;
  const port = await serveHooks({ address, open, answered: metrics.delivered }, signal);
  await serve({ address: metricsAddress, scrape: metrics.scrape, ...health }, signal);
  log.info({ port, namespaces }, "receiving");
  await receiving.run(signal);
  log.info({}, "draining");
  await Promise.race([
    receiving.drained(),
    new Promise((resolve) => setTimeout(resolve, drainMs).unref()),
  ]);
  await client.close();
}

function gaugesOf(version: string, receiving: Receiving): readonly Sample[] {
  const labels = { version, node_version: process.version };
  const ready = receiving.receivers().map(({ receiver: { metadata }, isReady }): Sample => {
    const labels = { namespace: metadata.namespace ?? "", receiver: metadata.name };
    return { name: "capitan_receiver_ready", labels, value: isReady ? 1 : 0 };
  });
  return [{ name: "capitan_build_info", labels, value: 1 }, ...ready];
}

const codeOf = (error: unknown) => (isCapitanError(error) ? error.code : "InternalError");

try {
  await main(optionsFrom(process.argv.slice(2)));
  process.exit(0);
} catch (error) {
  console.error(`✗ ${isCapitanError(error) ? `${error.code}: ` : ""}${messageOf(error)}`);
  process.exit(1);
}
