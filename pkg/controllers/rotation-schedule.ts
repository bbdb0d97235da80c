import type { Fleet, FleetMember, KeyRotation } from "../api/index.ts";
import { clusterOf, type ClusterFacts } from "../cluster/index.ts";
import { CapitanError } from "../errors/index.ts";
import { dueRotation, type AgedKey, type NewRotation, type Tenancy } from "../fleet/index.ts";
import { problemOf } from "./members.ts";
import type { Clock, EventNote, Log, Named } from "./ports.ts";
import { emit } from "./report.ts";

/** What is needed of the hub to rotate keys as they grow old. */
export type ScheduleHub = {
  cluster(name: Named): ClusterFacts | undefined;
  membersOf(fleet: Named): readonly FleetMember[];
  readonly rotations: {
    /** Those that are not complete. */
    openKeyRotations(): readonly KeyRotation[];
    /** False when there is one of this name. */
    create(rotation: NewRotation, signal: AbortSignal): Promise<boolean>;
  };
  readonly inputs: {
    /** The newest age identity of each cluster, as far as the watch has seen. */
    ageKeys(): readonly (Named & Omit<AgedKey, "uid">)[];
  };
  emit(event: EventNote, id: { id: string; time: string }, signal: AbortSignal): Promise<void>;
};

export type ScheduleOptions = {
  readonly hub: ScheduleHub;
  readonly tenancy: Tenancy;
  readonly clock: Clock;
  readonly log: Log;
};

const retryMs = 60_000;

/** Makes KeyRotations for Fleets whose keys are to be rotated every so often. */
export class RotationSchedule {
  readonly #options: ScheduleOptions;

  constructor(options: ScheduleOptions) {
    this.#options = options;
  }

  /** Makes the rotation that is due, and says when to look again. What fails is told, and is nobody else's trouble. */
  async look(fleet: Fleet, signal: AbortSignal): Promise<number> {
    const { hub, clock, log } = this.#options;
    try {
      return await this.#look(fleet, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = problemOf(error);
      log.warn({ fleet: fleet.metadata.name, code }, message);
      const note = `the keys of its clusters are not rotated: ${message}`;
      const event = {
        regarding: fleet,
        type: "Warning",
        reason: code,
        action: "Rotate",
        note,
      } as const;
      await emit(hub, event, { clock, log, signal });
      return retryMs;
    }
  }

  async #look(fleet: Fleet, signal: AbortSignal): Promise<number> {
    if (fleet.spec.rotation === undefined) return Infinity;
    const { hub, tenancy, clock, log } = this.#options;
    const { namespace = "" } = fleet.metadata;
    if (!tenancy.platformNamespaces.has(namespace)) {
      const message = `rotation of a Fleet in namespace ${namespace}: it is not one of the platform namespaces`;
      throw new CapitanError("NamespaceNotAllowed", message);
    }
    const open = hub.rotations
      .openKeyRotations()
      .filter(({ metadata }) => metadata.namespace === namespace);
    const nowMs = clock.now().getTime();
    const { rotation, againMs } = dueRotation(fleet, { keys: this.#keysOf(fleet), open, nowMs });
    if (rotation === undefined || !(await hub.rotations.create(rotation, signal))) return againMs;
    const { name } = rotation.metadata;
    const note = `KeyRotation ${name}: the keys of ${rotation.spec.clusters.length} clusters are older than ${fleet.spec.rotation.rotateEvery}`;
    log.info({ fleet: fleet.metadata.name, rotation: name }, "rotation is due");
    const event = {
      regarding: fleet,
      type: "Normal",
      reason: "RotationDue",
      action: "Rotate",
      note,
    } as const;
    await emit(hub, event, { clock, log, signal });
    return againMs;
  }

  #keysOf({ metadata: { namespace = "", name } }: Fleet): readonly AgedKey[] {
    const { hub } = this.#options;
    const members = hub.membersOf({ namespace, name });
    const present = members.filter(({ spec }) => spec.state === "Present").map(clusterOf);
    const clusters = new Map(
      present.flatMap((at) => {
        const facts = hub.cluster(at);
        return facts === undefined || facts.deleting ? [] : [[at.name, facts.uid] as const];
      }),
    );
    return hub.inputs.ageKeys().flatMap(({ namespace: where, cluster, generation, createdMs }) => {
      const uid = clusters.get(cluster);
      return uid === undefined || where !== namespace
        ? []
        : [{ cluster, uid, generation, createdMs }];
    });
  }
}
