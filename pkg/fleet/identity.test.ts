import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetMember } from "../api/index.ts";
import { knownAsAnother } from "./identity.ts";

const named = (name: string) => ({ namespace: "fleet", name });
const member = (cluster: string, clusterID: string | undefined) =>
  ({
    metadata: { namespace: "fleet", name: `m-${cluster}` },
    spec: { clusterRef: { name: cluster } },
    status: clusterID === undefined ? {} : { clusterID },
  }) as unknown as FleetMember;

for (const { name, asked, members, gone = [], other } of [
  { name: "nobody has it", asked: "a", members: [member("b", "y")] },
  { name: "it is its own", asked: "a", members: [member("a", "x")] },
  { name: "another has it", asked: "a", members: [member("b", "x")], other: "b" },
  {
    name: "another has it, and this one was elsewhere",
    asked: "a",
    members: [member("a", "y"), member("b", "x")],
    other: "b",
  },
  { name: "the other Cluster is gone", asked: "a", members: [member("b", "x")], gone: ["b"] },
  {
    name: "both have it and this one sorts first",
    asked: "a",
    members: [member("a", "x"), member("b", "x")],
  },
  {
    name: "both have it and the other sorts first",
    asked: "b",
    members: [member("a", "x"), member("b", "x")],
    other: "a",
  },
  {
    name: "a member that never connected says nothing",
    asked: "a",
    members: [member("b", undefined)],
  },
])
  test(`whose cluster it is: ${name}`, () => {
    const exists = (c: { name: string }) => !(gone as readonly string[]).includes(c.name);
    assert.equal(knownAsAnother("x", named(asked), members, exists)?.name, other);
  });
