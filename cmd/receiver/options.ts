import { parseArgs } from "node:util";
import type { LogLevel } from "../../pkg/log/index.ts";
import { logLevelOf, optionsOrExit } from "../process-options.ts";

export type Options = {
  readonly namespaces: readonly string[];
  readonly tokenSecrets: readonly string[];
  readonly address: string;
  readonly metricsAddress: string;
  readonly logLevel: LogLevel;
};

const usage = `usage: capitan-receiver --namespace NAME [--namespace NAME ...]

  --namespace NAME            namespace whose Receivers are served; repeatable, at least one
  --token-secret NAME         Secret that Receivers there may name; repeatable (default receiver-token)
  --address HOST:PORT         where deliveries come in (default 127.0.0.1:9292)
  --metrics-address HOST:PORT /healthz, /readyz, /metrics (default 127.0.0.1:8081)
  --log-level LEVEL           debug, info, warn, error (default info)
The hub is found by KUBECONFIG, the pod's ServiceAccount, or ~/.kube/config, in this order.`;

/** The options, or the end of the process. */
export const optionsFrom = (args: readonly string[]): Options =>
  optionsOrExit(args, usage, parseOptions);

/** Reads the command line. Throws Error with what is wrong. */
function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      namespace: { type: "string", multiple: true, default: [] },
      "token-secret": { type: "string", multiple: true, default: ["receiver-token"] },
      address: { type: "string", default: "127.0.0.1:9292" },
      "metrics-address": { type: "string", default: "127.0.0.1:8081" },
      "log-level": { type: "string", default: "info" },
    },
  });
  if (values.namespace.length === 0) throw new Error("at least one --namespace is needed");
  return {
    namespaces: [...new Set(values.namespace)],
    tokenSecrets: [...new Set(values["token-secret"])],
    address: values.address,
    metricsAddress: values["metrics-address"],
    logLevel: logLevelOf(values["log-level"]),
  };
}
