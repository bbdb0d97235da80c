import type { KubeObject } from "../../pkg/object/index.ts";
import { labNamespace } from "../lab/lab.ts";
import { resources } from "../lab/resources.ts";
import type { Keeper } from "./contender.ts";
import { fluxFleet, membersOf, membersReady, removeFleet } from "./fleets.ts";
import type { Ground, Run } from "./ground.ts";
import { askAll } from "./requested-at.ts";

/** Capitan: one Fleet for the clusters of a run. */
export function capitan({ lab, hub }: Ground): Keeper {
  return {
    name: "Capitan",
    process: "controller",
    isOwn: (userAgent) => userAgent === "capitan-controller",
    isAnswer: (resource) => resource === "fleetmembers/status",
    prepare: async () => undefined,
    install: async ({ name }: Run) => {
      const fleet = fluxFleet(lab.registry, name) as KubeObject;
      await hub.apply(resources.fleet, fleet, { manager: "bench" });
    },
    settled: (run: Run) => membersReady(hub, run.name, run),
    pass: async ({ name }: Run) => {
      const names = (await membersOf(hub, name)).map(({ metadata }) => metadata.name);
      return askAll(hub, resources.fleetMember, { namespace: labNamespace, names });
    },
    remove: ({ name }: Run) => removeFleet(hub, name),
  };
}
