import type { CommandModule } from "yargs";
import { hubResources, type Condition } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type ObjectMeta, type Resource } from "../../pkg/object/index.ts";
import { findFleet, fleetBuilder, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";
import {
  isWaitUsable,
  judge,
  notLookedAt,
  waitFor,
  waitOptions,
  type WaitArguments,
} from "./wait.ts";

/** `capitan reconcile fleet NAME`: its sources are resolved again now. */
export const reconcileFleet: CommandModule<object, FleetArguments & WaitArguments> = {
  command: "fleet <name>",
  describe: "Resolve a Fleet's tags and versions again now",
  builder: (y) => fleetBuilder(y).options(waitOptions).check(isWaitUsable),
  handler: (args) =>
    withHub(args, async (hub) =>
      request(hub, hubResources.fleet, (await findFleet(hub, args)).metadata, args),
    ),
};

/** `capitan reconcile member NAME`: its cluster is looked at as a whole now. */
export const reconcileMember: CommandModule<object, MemberArguments & WaitArguments> = {
  command: "member <name>",
  describe: "Look at a cluster as a whole now",
  builder: (y) => memberBuilder(y).options(waitOptions).check(isWaitUsable),
  handler: (args) =>
    withHub(args, async (hub) =>
      request(hub, hubResources.fleetMember, (await findMember(hub, args)).metadata, args),
    ),
};

type Reconciled = {
  readonly status?: {
    readonly lastHandledReconcileAt?: string;
    readonly conditions?: readonly Condition[];
  };
};

async function request(
  hub: KubeClient,
  resource: Resource,
  metadata: ObjectMeta,
  { wait, timeout }: WaitArguments,
): Promise<void> {
  const requestedAt = new Date().toISOString();
  const patch = { metadata: { annotations: { [annotations.requestedAt]: requestedAt } } };
  await hub.mergePatch(resource, metadata, patch);
  const name = `${resource.kind} ${metadata.namespace ?? ""}/${metadata.name}`;
  if (!wait) {
    process.stdout.write(`${name} is to be looked at again\n`);
    return;
  }
  const message = await waitFor(`${name} to be Ready`, timeout, async () =>
    standing((await hub.get(resource, metadata)) as Reconciled | undefined, name, requestedAt),
  );
  process.stdout.write(`${name} is Ready: ${message}\n`);
}

/** Whether the request has been handled, and what came of it. Throws NotFound, and what `judge` does. */
function standing(object: Reconciled | undefined, name: string, requestedAt: string) {
  if (object === undefined) throw new CapitanError("NotFound", `${name} is gone`);
  if (object.status?.lastHandledReconcileAt !== requestedAt) return { waitsFor: notLookedAt };
  return judge(name, object.status.conditions);
}
