import { conditionOf, hubResources, type SecretRotation } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { withoutManagedFields, type KubeClient } from "../../pkg/kube/index.ts";
import { printed, clean, table } from "./text.ts";
import { notLookedAt, waitFor } from "./wait.ts";

type Named = { readonly namespace: string; readonly name: string };

/** A rotation of values. Throws NotFound. */
export async function secretRotation(hub: KubeClient, name: Named): Promise<SecretRotation> {
  const found = await hub.get(hubResources.secretRotation, name);
  if (found !== undefined) return withoutManagedFields(found as unknown as SecretRotation);
  throw new CapitanError("NotFound", `there is no SecretRotation ${name.namespace}/${name.name}`);
}

/** Waits until every cluster runs the values, and prints who does and who does not. Throws HealthTimeout. */
export async function valuesRun(
  hub: KubeClient,
  name: Named,
  { timeout, output }: { readonly timeout: string; readonly output: string },
): Promise<void> {
  try {
    await waitFor(`SecretRotation ${name.namespace}/${name.name}`, timeout, async () => {
      const found = await secretRotation(hub, name);
      const ready = conditionOf(found.status?.conditions, "Ready");
      if (ready?.status === "True") return { done: undefined };
      return { waitsFor: ready?.message ?? notLookedAt };
    });
  } finally {
    const found = await secretRotation(hub, name);
    process.stdout.write(printed(found, output, () => secretRotationText(found)));
  }
}

/** Where each cluster stands. */
export function secretRotationText({ metadata, spec, status }: SecretRotation): string {
  const rows = (status?.clusters ?? []).map(({ name, state, restarted, ...why }) => [
    name,
    state,
    restarted === undefined ? "-" : String(restarted),
    clean([why.reason, why.message].filter((word) => word !== undefined).join(": ")),
  ]);
  const values = spec.files.length === 1 ? "1 value" : `${spec.files.length} values`;
  const files = `${values} of commit ${spec.commit.slice(0, 12)}`;
  const head = `SecretRotation ${metadata.name}: ${status?.summary ?? "-"}; ${files}\n`;
  return `${head}${table(["cluster", "state", "restarted", "why"], rows)}`;
}
