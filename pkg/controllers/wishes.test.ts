import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember } from "../api/index.ts";
import type { MemberPlan } from "./engine.ts";
import { Members } from "./members.ts";
import { arePlanned } from "./wishes.ts";

const member = (fleet: string, revision: string, state = "Present") =>
  ({
    metadata: { name: `${fleet}-c`, namespace: "fleet" },
    spec: {
      fleetRef: { namespace: "fleet", name: fleet },
      clusterRef: { name: "c" },
      revision,
      state,
    },
  }) as unknown as FleetMember;

const planOf = (revision: string | undefined) =>
  ({
    revision: revision === undefined ? undefined : { metadata: { name: revision } },
  }) as unknown as MemberPlan;

test("a light pass needs plans of exactly what the members are pinned to", () => {
  const [a, b] = [member("a", "a-1"), member("b", "b-1")];
  const plans = new Map([
    ["a-c", planOf("a-1")],
    ["b-c", planOf("b-1")],
  ]);
  const cases: readonly (readonly [readonly FleetMember[], boolean])[] = [
    [[a, b], true],
    [[a, member("b", "b-2")], false],
    [[a], false],
    [[a, b, member("d", "d-1")], false],
    [[a, member("b", "b-1", "Removed")], false],
  ];
  for (const [members, expected] of cases) assert.equal(arePlanned(members, plans), expected);
  const removed = new Map([["b-c", planOf(undefined)]]);
  assert.equal(arePlanned([member("b", "b-1", "Removed")], removed), true);
});

test("a member that came after the pass began does not count as heard: nothing is removed yet", () => {
  const fleet = (name: string, revision: string) =>
    ({
      metadata: { name, namespace: "fleet", generation: 1 },
      spec: { clusterSelector: {}, suspend: false },
      status: { resolvedGeneration: 1, updateRevision: revision },
    }) as unknown as Fleet;
  const fleets = [fleet("a", "a-2"), fleet("b", "b-1")];
  const [a, b] = [member("a", "a-2"), member("b", "b-1")];
  const hub = {
    fleet: ({ name }: { name: string }) => fleets.find((one) => one.metadata.name === name),
    fleetsBeside: () => fleets,
    membersOn: () => [a, b],
  };
  const tenancy = { platformNamespaces: new Set(["fleet"]) };
  const clock = { now: () => new Date(0), monotonicMs: () => 0, random: () => 0 };
  const members = new Members({ hub, clock, tenancy } as unknown as ConstructorParameters<
    typeof Members
  >[0]);
  const cluster = { namespace: "fleet", name: "c", labels: {} } as never;
  const waits = (known: readonly FleetMember[]) =>
    members.refresh(planOf("a-2"), a, { cluster, members: known }).removalWaits;
  assert.match(waits([a]) ?? "", /until Fleet fleet\/b/);
  assert.equal(waits([a, b]), undefined);
});
