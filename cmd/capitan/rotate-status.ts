import type { CommandModule } from "yargs";
import { conditionOf, hubResources, type KeyRotation } from "../../pkg/api/index.ts";
import { CapitanError, codes, type Code } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { listOf } from "./listing.ts";
import { secretRotation, secretRotationText, valuesRun } from "./rotate-secret-status.ts";
import { clean, outputOption, printed, table } from "./text.ts";
import { isWaitUsable, notLookedAt, waitFor, waitOptions } from "./wait.ts";

type Named = { readonly namespace: string; readonly name: string };
type Arguments = HubArguments & {
  readonly namespace: string;
  readonly name?: string | undefined;
  readonly watch: boolean;
  readonly timeout: string;
  readonly output: string;
};

/** `capitan rotate status [NAME]` */
export const rotateStatus: CommandModule<object, Arguments> = {
  command: "status [name]",
  describe: "How far each cluster has come in its rotation, and what it waits for",
  builder: (y) =>
    y
      .positional("name", {
        type: "string",
        describe: "A KeyRotation or SecretRotation; the newest by default",
      })
      .options({
        ...hubOptions,
        ...outputOption,
        namespace: {
          alias: "n",
          type: "string",
          default: "fleet",
          describe: "The namespace of the rotation",
        },
        watch: { type: "boolean", default: false, describe: "Go on until it is complete" },
        timeout: { ...waitOptions.timeout, default: "30m" },
      })
      .check(isWaitUsable),
  handler: (args) =>
    withHub(args, async (hub) => {
      const { kind, ...name } = await nameOf(hub, args);
      if (kind === "SecretRotation") return showValues(hub, name, args);
      if (args.watch) return rotationDone(hub, name, args.timeout);
      const found = await rotation(hub, name);
      process.stdout.write(printed(found, args.output, () => textOf(found)));
    }),
};

async function showValues(hub: KubeClient, name: Named, args: Arguments): Promise<void> {
  if (args.watch) return valuesRun(hub, name, args);
  const found = await secretRotation(hub, name);
  process.stdout.write(printed(found, args.output, () => secretRotationText(found)));
}

/** The rotation that is meant: the newest of both kinds when none is named. */
async function nameOf(
  hub: KubeClient,
  { namespace, name }: Arguments,
): Promise<Named & { readonly kind: string }> {
  const { keyRotation, secretRotation: ofValues } = hubResources;
  // One after the other, so that an error always names the same kind.
  const ofKeys = await listOf(hub, keyRotation, { namespace });
  const all = [...ofKeys, ...(await listOf(hub, ofValues, { namespace }))];
  const named = name === undefined ? all : all.filter(({ metadata }) => metadata.name === name);
  const newest = named.toSorted((a, b) =>
    (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? "", "en"),
  )[0];
  if (newest !== undefined) return { namespace, name: newest.metadata.name, kind: newest.kind };
  const what = name === undefined ? "rotation" : `rotation ${name}`;
  throw new CapitanError("NotFound", `there is no ${what} in namespace ${namespace}`);
}

async function rotation(hub: KubeClient, name: Named): Promise<KeyRotation> {
  const found = await hub.get(hubResources.keyRotation, name);
  if (found !== undefined) return found as unknown as KeyRotation;
  throw new CapitanError("NotFound", `there is no KeyRotation ${name.namespace}/${name.name}`);
}

/** Waits until a rotation is complete, and shows where each cluster stands whenever that changes. Throws HealthTimeout, NotFound. */
export async function rotationDone(hub: KubeClient, name: Named, timeout: string): Promise<void> {
  let shown = "";
  await waitFor(`KeyRotation ${name.namespace}/${name.name}`, timeout, async () => {
    const found = await rotation(hub, name);
    const text = textOf(found);
    if (text !== shown) process.stdout.write(text);
    shown = text;
    const ready = conditionOf(found.status?.conditions, "Ready");
    if (ready?.status === "True") return { done: undefined };
    return { waitsFor: ready?.message ?? notLookedAt };
  });
}

/** Shows the plan of a dry run. */
export async function showPlan(hub: KubeClient, name: Named, timeout: string): Promise<void> {
  const plan = await planOf(hub, name, timeout);
  const clusters = plan.clusters.map(({ name: cluster, ends, generation, files, expires }) => [
    cluster,
    `${ends} → ${generation}`,
    String(files),
    expires.join(", ") || "-",
  ]);
  const files = plan.files.map(({ path, recipients, stale, unknown, trouble = "-" }) => [
    clean(path),
    recipients.map(short).join(" "),
    stale.map(short).join(" ") || "-",
    unknown.map(short).join(" ") || "-",
    clean(trouble),
  ]);
  process.stdout.write(
    `${table(["cluster", "generation", "files", "expires"], clusters)}${table(["file", "recipients", "stale", "unknown", "trouble"], files)}Nothing was changed.\n`,
  );
}

/** The dry run's plan. The dry run goes then, also when nobody waits for it any longer. */
async function planOf(hub: KubeClient, name: Named, timeout: string) {
  try {
    return await waitFor("the plan", timeout, async () => {
      const { status } = await rotation(hub, name);
      if (status?.plan !== undefined) return { done: status.plan };
      return { waitsFor: conditionOf(status?.conditions, "Ready")?.message ?? notLookedAt };
    });
  } finally {
    const left = await hub.get(hubResources.keyRotation, name);
    if (left !== undefined) await hub.delete(hubResources.keyRotation, left);
  }
}

const short = (recipient: string) => `${clean(recipient).slice(0, 12)}…`;

const nothingYet = { observedGeneration: -1 };

function textOf({ metadata, status = nothingYet }: KeyRotation): string {
  const ready = conditionOf(status.conditions, "Ready");
  const rows = (status.clusters ?? []).map(({ name, generation, state, proof, ...why }) => [
    name,
    generation === undefined ? "-" : String(generation),
    state,
    proof !== undefined && proof.generation === generation ? proof.time : "-",
    clean([why.reason, why.message].filter((word) => word !== undefined).join(": ")),
  ]);
  const head = `KeyRotation ${metadata.name}: ${status.summary ?? "-"}\n`;
  return `${head}${table(["cluster", "generation", "state", "proven", "why"], rows)}${leakText(status)}${remedyOf(ready?.reason)}`;
}

/** After a leak: what is to be changed. */
function leakText({ exposed = [], exposedFiles = 0 }: NonNullable<KeyRotation["status"]>): string {
  if (exposed.length === 0) return "";
  const files = exposed.map(
    ({ file, values }) => `  ${clean(file)}: ${clean(values.join(", "))}\n`,
  );
  const more = exposedFiles - exposed.length;
  const rest = more > 0 ? `  and values in ${more} more files of these clusters\n` : "";
  return `The old keys could read these values; change them at their origin:\n${files.join("")}${rest}`;
}

const remedyOf = (reason = ""): string =>
  Object.hasOwn(codes, reason) ? `  → ${codes[reason as Code].remedy}\n` : "";
