import type { FleetMember } from "../api/index.ts";
import { asMap, isJsonMap } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";

/** What came past the CRD, written into etcd or before it was there, must not stop the others. */
export function isFleet(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  return isJsonMap(spec["clusterSelector"]) && Array.isArray(spec["layers"]);
}

/** Whether it says what every member must say. */
export function isMember(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  const names = [asMap(spec["fleetRef"])["name"], asMap(spec["clusterRef"])["name"]];
  return names.every((name) => typeof name === "string") && typeof spec["revision"] === "string";
}

/** A member that the API server has checked. */
export function asMember(object: KubeObject): FleetMember {
  return object as unknown as FleetMember;
}
