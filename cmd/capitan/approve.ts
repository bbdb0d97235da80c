import type { CommandModule } from "yargs";
import { conditionOf, hubResources, type Fleet, type FleetMember } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type Resource } from "../../pkg/object/index.ts";
import {
  approvalAskedFor,
  fleetStanding,
  memberStanding,
  type Approvable,
  type Approved,
} from "./approval.ts";
import { confirmed } from "./ask.ts";
import { findFleet, fleetBuilder, membersOfFleet, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";
import { clean } from "./text.ts";
import { isWaitUsable, waitFor, waitOptions, type Standing, type WaitArguments } from "./wait.ts";

type Options = WaitArguments & { readonly yes: boolean; readonly digest?: string | undefined };

/** `capitan approve fleet NAME`: what its condition RemovalNeedsApproval asks for, and nothing else. */
export const approveFleet: CommandModule<object, FleetArguments & Options> = {
  command: "fleet <name>",
  describe: "Allow the removal that a Fleet's condition RemovalNeedsApproval names",
  builder: (y) => fleetBuilder(y).options(options).check(isWaitUsable),
  handler: (args) =>
    withHub(args, async (hub) => {
      const resource = hubResources.fleet;
      const object = await findFleet(hub, args);
      const before = await membersOfFleet(hub, object);
      const standing = async (approved: Approved) => {
        const fleet = (await hub.get(resource, object.metadata)) as Fleet | undefined;
        const isHeld = fleet !== undefined && approvalAskedFor(fleet) !== undefined;
        // Read after the Fleet: what its status tells of them is true of these.
        const now = isHeld ? before : await membersOfFleet(hub, object);
        return fleetStanding(approved, fleet, { before, now });
      };
      await approve(hub, { resource, object, standing }, args);
    }),
};

/** `capitan approve member NAME` */
export const approveMember: CommandModule<object, MemberArguments & Options> = {
  command: "member <name>",
  describe: "Allow the removal that a member's condition RemovalNeedsApproval names",
  builder: (y) => memberBuilder(y).options(options).check(isWaitUsable),
  handler: (args) =>
    withHub(args, async (hub) => {
      const resource = hubResources.fleetMember;
      const object = (await findMember(hub, args)) as unknown as FleetMember;
      const standing = async (approved: Approved) =>
        memberStanding(
          approved,
          (await hub.get(resource, object.metadata)) as FleetMember | undefined,
        );
      await approve(hub, { resource, object, standing }, args);
    }),
};

const options = {
  yes: { alias: "y", type: "boolean", default: false, describe: "Do not ask" },
  digest: {
    type: "string",
    describe: "Approve only if this is what is asked for, as a message or capitan plan named it",
  },
  wait: { ...waitOptions.wait, default: false, describe: "Wait until it has been carried out" },
  timeout: waitOptions.timeout,
} as const;

type Approval = {
  readonly resource: Resource;
  readonly object: Approvable;
  /** How far what was approved is. */
  readonly standing: (approved: Approved) => Promise<Standing<string>>;
};

async function approve(
  hub: KubeClient,
  { resource, object, standing }: Approval,
  args: Options,
): Promise<void> {
  const { metadata } = object;
  const name = `${resource.kind} ${metadata.namespace ?? ""}/${metadata.name}`;
  const { asked, message } = askedOf(object, name);
  process.stderr.write(`${name} ${clean(message)}\n`);
  await refuseUnlessMeant(name, asked, args);
  const patch = { metadata: { annotations: { [annotations.approveRemoval]: asked } } };
  await hub.mergePatch(resource, metadata, patch);
  process.stdout.write(`${name} approved: ${asked}\n`);
  if (!args.wait) return;
  const look = () => standing({ name, digest: asked });
  const outcome = await waitFor(`${name} to carry it out`, args.timeout, look);
  process.stdout.write(clean(`${name} ${outcome}\n`));
}

function askedOf(object: Approvable, name: string): { asked: string; message: string } {
  const { message = "" } = conditionOf(object.status?.conditions, "Ready") ?? {};
  const asked = approvalAskedFor(object);
  if (asked !== undefined) return { asked, message };
  throw new CapitanError("NotFound", `${name} asks for no approval`);
}

/** Either the caller names the digest, or says yes, or a person does. */
async function refuseUnlessMeant(
  name: string,
  asked: string,
  { yes, digest }: Options,
): Promise<void> {
  if (digest === asked) return;
  if (digest !== undefined) {
    const message = `${name} asks for the approval ${asked}, not ${digest}: the set has changed`;
    throw new CapitanError("RemovalNeedsApproval", message);
  }
  if (!yes && !(await confirmed("Allow exactly this?", "say --yes or --digest")))
    throw new CapitanError("RemovalNeedsApproval", "not approved: nothing was changed");
}
