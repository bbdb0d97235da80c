import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetMember } from "../../pkg/api/index.ts";
import { isAbout } from "./events.ts";

test("--for prod is not --for prod-eu: members are told apart by what they refer to", () => {
  const member = (name: string, fleet: string, cluster: string) =>
    ({
      metadata: { name },
      spec: { fleetRef: { namespace: "n", name: fleet }, clusterRef: { name: cluster } },
    }) as FleetMember;
  const members = [
    member("prod-eu-1-0123abcd", "prod", "eu-1"),
    member("prod-eu-us-0123abcd", "prod-eu", "us"),
  ];
  const about = (kind: string, name: string, wanted: string) =>
    isAbout({ kind, name }, wanted, members);
  assert.ok(about("Fleet", "prod", "prod"));
  assert.ok(!about("Fleet", "prod-eu", "prod"));
  assert.ok(about("FleetMember", "prod-eu-1-0123abcd", "prod"));
  assert.ok(about("FleetMember", "prod-eu-1-0123abcd", "eu-1"));
  assert.ok(about("FleetMember", "prod-eu-1-0123abcd", "prod-eu-1-0123abcd"));
  assert.ok(!about("FleetMember", "prod-eu-us-0123abcd", "prod"));
  assert.ok(about("FleetMember", "gone-x-0123abcd", "gone"));
  assert.ok(about("FleetMember", "gone-x-0123abcd", "x"));
  assert.ok(!about("FleetMember", "gone-x-0123abcd", "one"));
});
