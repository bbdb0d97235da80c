import { asMap, asString } from "../json/index.ts";
import { annotations, type KubeObject } from "../object/index.ts";

/** A workload that restarts for Secrets, and what its pods' template is to say. */
export type Restart = {
  readonly workload: KubeObject;
  readonly value: string;
  /** Whether it says so already. */
  readonly isTold: boolean;
};

/**
 * The workloads of a namespace that ask to be restarted for one of these Secrets, given by name and
 * state. The template of their pods says for each Secret which state they were started for, so that nobody
 * restarts twice for one.
 */
export function restartsFor(
  workloads: readonly KubeObject[],
  secrets: ReadonlyMap<string, string>,
): readonly Restart[] {
  return workloads.flatMap((workload) => {
    const names = asksFor(workload).filter((name) => secrets.has(name));
    if (names.length === 0) return [];
    const told = toldTo(workload);
    const isTold = names.every((name) => told.get(name) === secrets.get(name));
    for (const name of names) told.set(name, secrets.get(name) ?? "");
    return [{ workload, value: formatTold(told), isTold }];
  });
}

/** The names of the Secrets for which a workload wants to restart: `secret/NAME[,secret/OTHER]`. */
function asksFor({ metadata }: KubeObject): readonly string[] {
  const words = (metadata.annotations?.[annotations.restartOn] ?? "").split(",");
  const names = words.flatMap((word) => /^\s*secret\/(\S+?)\s*$/.exec(word)?.[1] ?? []);
  return [...new Set(names)];
}

function toldTo({ spec }: KubeObject): Map<string, string> {
  const { annotations: all } = asMap(asMap(asMap(spec)["template"])["metadata"]);
  const told = new Map<string, string>();
  for (const word of (asString(asMap(all)[annotations.restartedFor]) ?? "").split(",")) {
    const [, name, state] = /^([^=\s]+)=([0-9a-f]+)$/.exec(word) ?? [];
    if (name !== undefined && state !== undefined) told.set(name, state);
  }
  return told;
}

const formatTold = (told: ReadonlyMap<string, string>): string =>
  [...told]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, state]) => `${name}=${state}`)
    .join(",");
