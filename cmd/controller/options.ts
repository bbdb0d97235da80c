import { randomUUID } from "node:crypto";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { LogLevel } from "../../pkg/log/index.ts";
import { logLevelOf, optionsOrExit } from "../process-options.ts";

export type Options = {
  readonly platformNamespaces: ReadonlySet<string>;
  /** What Fleets outside the platform namespaces act as when they name no ServiceAccount. */
  readonly defaultServiceAccount: string | undefined;
  readonly systemNamespace: string;
  readonly metricsAddress: string;
  readonly cacheDir: string;
  readonly logLevel: LogLevel;
  readonly leaderElection: boolean;
  readonly concurrency: number;
  readonly identity: string;
  /** The pod's name. */
  readonly instance: string;
  /** Where events are sent too. */
  readonly eventsAddress: string | undefined;
};

const usage = `usage: capitan-controller --platform-namespace NAME [--platform-namespace NAME ...]

  --platform-namespace NAME   namespace whose Fleets have the controller's rights; repeatable, at least one
  --default-service-account NAME
                              what other Fleets act as that name no ServiceAccount (default none: refused)
  --system-namespace NAME     namespace of the Lease (default capitan-system)
  --metrics-address HOST:PORT /healthz, /readyz, /metrics (default 127.0.0.1:8080)
  --cache-dir DIR             artifacts by digest (default ~/.cache/capitan/artifacts)
  --concurrency N             clusters that are worked on at once (default 32)
  --log-level LEVEL           debug, info, warn, error (default info)
  --events-addr URL           send events to Flux's notification-controller too
  --no-leader-election        run without a Lease
The hub is found by KUBECONFIG, the pod's ServiceAccount, or ~/.kube/config, in this order.`;

/** The options, or the end of the process. */
export const optionsFrom = (args: readonly string[]): Options =>
  optionsOrExit(args, usage, parseOptions);

/** Reads the command line. Throws Error with what is wrong. */
function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      "platform-namespace": { type: "string", multiple: true, default: [] },
      "default-service-account": { type: "string" },
      "system-namespace": { type: "string", default: "capitan-system" },
      "metrics-address": { type: "string", default: "127.0.0.1:8080" },
      "cache-dir": { type: "string", default: join(homedir(), ".cache", "capitan", "artifacts") },
      "log-level": { type: "string", default: "info" },
      "leader-election": { type: "boolean", default: true },
      concurrency: { type: "string", default: "32" },
      "events-addr": { type: "string" },
    },
  });
  const concurrency = Number(values.concurrency);
  if (values["platform-namespace"].length === 0)
    throw new Error("at least one --platform-namespace is needed");
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new Error("--concurrency must be a positive number");
  return {
    platformNamespaces: new Set(values["platform-namespace"]),
    defaultServiceAccount: values["default-service-account"],
    systemNamespace: values["system-namespace"],
    metricsAddress: values["metrics-address"],
    cacheDir: values["cache-dir"],
    logLevel: logLevelOf(values["log-level"]),
    leaderElection: values["leader-election"],
    concurrency,
    identity: `${hostname()}_${randomUUID()}`,
    instance: hostname(),
    eventsAddress: eventsAddressOf(values["events-addr"]),
  };
}

function eventsAddressOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  const isUsable = url !== null && /^https?:$/.test(url.protocol) && url.username === "";
  if (!isUsable) throw new Error("--events-addr must be an http or https URL without credentials");
  return url.href;
}
