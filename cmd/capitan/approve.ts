import type { CommandModule } from "yargs";
import {
  conditionOf,
  hubResources,
  type Condition,
  type FleetMember,
} from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type ObjectMeta, type Resource } from "../../pkg/object/index.ts";
import { confirmed } from "./ask.ts";
import { findFleet, fleetBuilder, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";
import { clean } from "./text.ts";

type Yes = { readonly yes: boolean; readonly digest?: string | undefined };

/** `capitan approve fleet NAME`: what its condition RemovalNeedsApproval asks for, and nothing else. */
export const approveFleet: CommandModule<object, FleetArguments & Yes> = {
  command: "fleet <name>",
  describe: "Allow the removal that a Fleet's condition RemovalNeedsApproval names",
  builder: (y) => fleetBuilder(y).options(yesOptions),
  handler: (args) =>
    withHub(args.kubeconfig, async (hub) =>
      approve(hub, hubResources.fleet, await findFleet(hub, args), args),
    ),
};

/** `capitan approve member NAME` */
export const approveMember: CommandModule<object, MemberArguments & Yes> = {
  command: "member <name>",
  describe: "Allow the removal that a member's condition RemovalNeedsApproval names",
  builder: (y) => memberBuilder(y).options(yesOptions),
  handler: (args) =>
    withHub(args.kubeconfig, async (hub) => {
      const member = (await findMember(hub, args)) as unknown as FleetMember;
      await approve(hub, hubResources.fleetMember, member, args);
    }),
};

const yesOptions = {
  yes: { alias: "y", type: "boolean", default: false, describe: "Do not ask" },
  digest: {
    type: "string",
    describe: "Approve only if this is what is asked for, as a message or capitan plan named it",
  },
} as const;

type Approvable = {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
};

const askedFor = new RegExp(`${annotations.approveRemoval}=([0-9a-f]{16})`);

async function approve(
  hub: KubeClient,
  resource: Resource,
  object: Approvable,
  args: Yes,
): Promise<void> {
  const { metadata } = object;
  const name = `${resource.kind} ${metadata.namespace ?? ""}/${metadata.name}`;
  const { asked, message } = askedOf(object, name);
  process.stderr.write(`${name} ${clean(message)}\n`);
  await refuseUnlessMeant(name, asked, args);
  const patch = { metadata: { annotations: { [annotations.approveRemoval]: asked } } };
  await hub.mergePatch(resource, metadata, patch);
  process.stdout.write(`${name} approved: ${asked}\n`);
}

/** The digest that an object's condition asks to be approved; undefined when it asks for nothing. */
export function approvalAskedFor({ status }: Approvable): string | undefined {
  return askedFor.exec(conditionOf(status?.conditions, "Ready")?.message ?? "")?.[1];
}

function askedOf(object: Approvable, name: string): { asked: string; message: string } {
  const { message = "" } = conditionOf(object.status?.conditions, "Ready") ?? {};
  const asked = approvalAskedFor(object);
  if (asked !== undefined) return { asked, message };
  throw new CapitanError("NotFound", `${name} asks for no approval`);
}

/** Either the caller names the digest, or says yes, or a person does. */
async function refuseUnlessMeant(name: string, asked: string, { yes, digest }: Yes): Promise<void> {
  if (digest === asked) return;
  if (digest !== undefined) {
    const message = `${name} asks for the approval ${asked}, not ${digest}: the set has changed`;
    throw new CapitanError("RemovalNeedsApproval", message);
  }
  if (!yes && !(await confirmed("Allow exactly this?", "say --yes or --digest")))
    throw new CapitanError("RemovalNeedsApproval", "not approved: nothing was changed");
}
