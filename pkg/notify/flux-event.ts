import { group, type Reporting } from "../api/index.ts";

/** What happened, as it is recorded as a Kubernetes Event too. */
export type Note = {
  readonly regarding: Reporting;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly note: string;
};

/** The body that notification-controller takes: github.com/fluxcd/pkg/apis/event/v1beta1. */
export type FluxEvent = {
  readonly involvedObject: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly severity: "info" | "error";
  /** RFC 3339. */
  readonly timestamp: string;
  readonly message: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly reportingController: string;
  readonly reportingInstance: string;
};

/**
 * Annotations with this prefix are copied, as Flux's controllers do. It takes no other keys but those of our group,
 * and warns of each that comes under both.
 */
const eventPrefix = "event.toolkit.fluxcd.io/";
/** Flux refuses messages above 39,000; ours are far shorter. */
const messageMax = 4_096;

/** The event of a note. `instance` is the pod's name. */
export function fluxEvent(
  { regarding, type, reason, note }: Note,
  { instance, timestamp }: { readonly instance: string; readonly timestamp: string },
): FluxEvent {
  const { name, namespace = "", uid = "", resourceVersion = "" } = regarding.metadata;
  const { kind } = regarding;
  return {
    involvedObject: {
      apiVersion: `${group}/v1alpha1`,
      kind,
      name,
      namespace,
      uid,
      resourceVersion,
    },
    severity: type === "Warning" ? "error" : "info",
    timestamp,
    message: note.slice(0, messageMax),
    reason,
    metadata: metadataOf(regarding),
    reportingController: "capitan-controller",
    reportingInstance: instance,
  };
}

function metadataOf(object: Reporting): Readonly<Record<string, string>> {
  const { annotations = {} } = object.metadata;
  const copied = Object.entries(annotations).filter(([key]) => key.startsWith(eventPrefix));
  return { ...ourKeys(object), ...Object.fromEntries(copied) };
}

function ourKeys(object: Reporting): Readonly<Record<string, string>> {
  if (object.kind === "Fleet") {
    const revision = object.status?.updateRevision;
    return revision === undefined ? {} : { [`${group}/revision`]: revision };
  }
  if (object.kind === "KeyRotation") {
    const commit = object.status?.lastCommit;
    return commit === undefined ? {} : { [`${group}/revision`]: commit };
  }
  if (object.kind === "SecretRotation") return { [`${group}/revision`]: object.spec.commit };
  const { fleetRef, clusterRef, revision } = object.spec;
  return {
    [`${group}/revision`]: revision,
    [`${group}/fleet`]: fleetRef.name,
    [`${group}/cluster`]: clusterRef.name,
  };
}
