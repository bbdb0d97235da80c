/** Structured logs: one JSON object per line, secrets redacted. */
import { pino } from "pino";

/** Fields whose values never reach a log, at any of the first depths. */
const secretFields = [
  "data",
  "stringData",
  "kubeconfig",
  "token",
  "password",
  "authorization",
  "key",
  "cert",
];
const redacted = secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);

export type LogLevel = "debug" | "info" | "warn" | "error";

/** A logger to standard output. Built in `cmd` and handed down; no room imports it. */
export function newLog(level: LogLevel) {
  return pino({
    level,
    base: null,
    timestamp: () => `,"ts":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: redacted, censor: "***" },
    serializers: { err: errorFacts },
  });
}

/** An error's kind and place; its message is logged by whoever knows that it may be. */
function errorFacts(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  return { type: error.name, stack: (error.stack ?? "").split("\n").slice(1, 8).join("\n") };
}
