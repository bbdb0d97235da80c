import type { CommandModule } from "yargs";
import { conditionOf, hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";

/** `capitan adopt member NAME`: this hub goes on with a cluster that another hub has written to. */
export const adoptMember: CommandModule<object, MemberArguments> = {
  command: "member <name>",
  describe: "Take over a cluster that another hub has written to (AnotherHub)",
  builder: memberBuilder,
  handler: (args) =>
    withHub(args, async (hub) => {
      const { metadata, status } = (await findMember(hub, args)) as unknown as FleetMember;
      const reason = conditionOf(status?.conditions, "Ready")?.reason;
      const name = `${metadata.namespace ?? ""}/${metadata.name}`;
      if (reason !== "AnotherHub")
        throw new CapitanError("NotFound", `FleetMember ${name} is not stopped by another hub`);
      // Without a remembered sequence number the next pass takes over the one that it finds.
      const patch = { metadata: { annotations: { [annotations.sequence]: null } } };
      await hub.mergePatch(hubResources.fleetMember, metadata, patch);
      process.stdout.write(
        `FleetMember ${name} is taken over by this hub\n  → make sure that the other hub does not come back\n`,
      );
    }),
};
