import { CapitanError } from "../../pkg/errors/index.ts";
import { controllerAccount, systemNamespace } from "../../pkg/install/index.ts";
import { asList, asMap } from "../../pkg/json/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { resourceOf } from "./hub.ts";

const flag = "--platform-namespace=";

/**
 * Fleets in a namespace that the controller is no longer told of are refused from then on: so an
 * installation is not changed to one that serves fewer. Throws AlreadyExists.
 */
export async function checkServed(hub: KubeClient, wanted: readonly KubeObject[]): Promise<void> {
  const name = { namespace: systemNamespace, name: controllerAccount };
  const kind = { apiVersion: "apps/v1", kind: "Deployment" };
  const live = await hub.get(await resourceOf(new Discovery(hub), kind), name);
  const next = new Set(wanted.flatMap(servedBy));
  const dropped = (live === undefined ? [] : servedBy(live)).filter((served) => !next.has(served));
  if (dropped.length === 0) return;
  throw new CapitanError(
    "AlreadyExists",
    `Capitan on the hub serves namespaces that would be dropped: ${dropped.join(", ")}; name each with --platform-namespace`,
  );
}

function servedBy({ kind, spec }: KubeObject): readonly string[] {
  if (kind !== "Deployment") return [];
  const containers = asList(asMap(asMap(asMap(spec)["template"])["spec"])["containers"]);
  return containers
    .flatMap((container) => asList(asMap(container)["args"]).map(String))
    .filter((arg) => arg.startsWith(flag))
    .map((arg) => arg.slice(flag.length));
}
