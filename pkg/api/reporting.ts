import type { FleetMember } from "./fleet-member.ts";
import type { Fleet } from "./fleet.ts";
import type { KeyRotation } from "./key-rotation.ts";
import type { SecretRotation } from "./secret-rotation.ts";

/** Objects whose status and Events the controller writes. */
export type Reporting = Fleet | FleetMember | KeyRotation | SecretRotation;
