import { groupOf } from "./id.ts";
import { asList, asMap, asNumber, asString, type JsonMap } from "../json/index.ts";
import { type KubeObject } from "./types.ts";

/** kstatus: the state of one object, and in words what is missing. */
export type Health = {
  readonly state: "Current" | "InProgress" | "Failed" | "Terminating";
  readonly message: string;
};

const current: Health = { state: "Current", message: "" };
const inProgress = (message: string): Health => ({ state: "InProgress", message });
const failed = (message: string): Health => ({ state: "Failed", message });

/** Kinds that are current as soon as they exist, so that nobody needs to look at them again. */
const alwaysCurrent = new Set([
  "/ConfigMap",
  "/Secret",
  "/ServiceAccount",
  "/Namespace",
  "/ResourceQuota",
  "/LimitRange",
  "batch/CronJob",
  "policy/PodDisruptionBudget",
  "networking.k8s.io/NetworkPolicy",
  "rbac.authorization.k8s.io/ClusterRole",
  "rbac.authorization.k8s.io/ClusterRoleBinding",
  "rbac.authorization.k8s.io/Role",
  "rbac.authorization.k8s.io/RoleBinding",
]);

/** Types of Services that wait for nobody. */
const readyServices = new Set<unknown>(["ClusterIP", "NodePort", "ExternalName"]);

/** False for what is current once it is applied: some kinds, and a Service that says that it is no LoadBalancer. */
export function hasHealthRule(object: KubeObject): boolean {
  const kind = `${groupOf(object.apiVersion)}/${object.kind}`;
  if (kind === "/Service") return !readyServices.has(asMap(object["spec"])["type"]);
  return !alwaysCurrent.has(kind);
}

/** The health of a live object by the rules of kstatus, in its order (cli-utils, Flux's fork for Jobs). */
export function healthOf(object: KubeObject): Health {
  const status = asMap(object["status"]);
  const conditions = conditionsOf(status);
  const general = generalHealth(object, status, conditions);
  if (general !== undefined) return general;
  const rule = rules[`${groupOf(object.apiVersion)}/${object.kind}`];
  if (rule === undefined) return byReady(conditions);
  return rule(asMap(object["spec"]), status, conditions, object);
}

/** What holds for every kind; undefined when the kind's own rule decides. */
function generalHealth(
  { metadata }: KubeObject,
  status: JsonMap,
  conditions: Conditions,
): Health | undefined {
  if (metadata.deletionTimestamp !== undefined) {
    return { state: "Terminating", message: "is being deleted" };
  }
  const observed = asNumber(status["observedGeneration"]);
  if (observed !== undefined && observed !== metadata.generation) {
    return inProgress("has not been observed yet");
  }
  const reconciling = conditions.get("Reconciling");
  if (reconciling?.status === "True") return inProgress(reconciling.message);
  const stalled = conditions.get("Stalled");
  return stalled?.status === "True" ? failed(stalled.message) : undefined;
}

type Condition = { readonly status: string; readonly reason: string; readonly message: string };
type Conditions = ReadonlyMap<string, Condition>;
type Rule = (spec: JsonMap, status: JsonMap, conditions: Conditions, object: KubeObject) => Health;

function conditionsOf(status: JsonMap): Conditions {
  const entries = asList(status["conditions"]).map((item) => {
    const { type, status, reason, message } = asMap(item);
    const condition = {
      status: asString(status) ?? "",
      reason: asString(reason) ?? "",
      message: asString(message) ?? "",
    };
    return [asString(type) ?? "", condition] as const;
  });
  return new Map(entries);
}

function byReady(conditions: Conditions): Health {
  const ready = conditions.get("Ready");
  if (ready === undefined || ready.status === "True") return current;
  return inProgress(ready.message === "" ? "is not Ready" : ready.message);
}

const count = (value: unknown, otherwise = 0) => asNumber(value) ?? otherwise;

/** The first comparison that does not hold, in words. */
function firstShort(
  checks: readonly (readonly [have: number, want: number, what: string])[],
): Health | undefined {
  const short = checks.find(([have, want]) => have < want);
  return short === undefined
    ? undefined
    : inProgress(`${short[0]} of ${short[1]} replicas ${short[2]}`);
}

const deployment: Rule = (spec, status, conditions) => {
  const progressing = conditions.get("Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded")
    return failed("has exceeded its progress deadline");
  const want = count(spec["replicas"], 1);
  const have = count(status["replicas"]);
  const updated = count(status["updatedReplicas"]);
  const short = firstShort([
    [have, want, "exist"],
    [updated, want, "are updated"],
    [want, have, "are wanted"],
    [count(status["availableReplicas"]), updated, "are available"],
    [count(status["readyReplicas"]), want, "are ready"],
  ]);
  if (short !== undefined) return short;
  const rolledOut =
    progressing?.status === "True" && progressing.reason === "NewReplicaSetAvailable";
  if (spec["progressDeadlineSeconds"] !== undefined && !rolledOut)
    return inProgress("is still rolling out");
  return conditions.get("Available")?.status === "True" ? current : inProgress("is not Available");
};

const statefulSet: Rule = (spec, status) => {
  const strategy = asMap(spec["updateStrategy"]);
  if (strategy["type"] === "OnDelete") return current;
  const want = count(spec["replicas"], 1);
  const short = firstShort([
    [count(status["replicas"]), want, "exist"],
    [count(status["readyReplicas"]), want, "are ready"],
    [want, count(status["replicas"]), "are wanted"],
  ]);
  if (short !== undefined) return short;
  const partition = asMap(strategy["rollingUpdate"])["partition"];
  if (typeof partition === "number" && partition > 0) {
    return (
      firstShort([[count(status["updatedReplicas"]), want - partition, "are updated"]]) ?? current
    );
  }
  if (count(status["currentReplicas"]) < want) return inProgress("is still rolling out");
  return status["currentRevision"] === status["updateRevision"]
    ? current
    : inProgress("is still rolling out");
};

const daemonSet: Rule = (_, status, __, { metadata }) => {
  if (metadata.generation === undefined || status["observedGeneration"] === undefined) {
    return inProgress("has not been observed yet");
  }
  const want = count(status["desiredNumberScheduled"]);
  const short = firstShort([
    [count(status["currentNumberScheduled"]), want, "are scheduled"],
    [count(status["updatedNumberScheduled"]), want, "are updated"],
    [count(status["numberAvailable"]), want, "are available"],
    [count(status["numberReady"]), want, "are ready"],
  ]);
  return short ?? current;
};

const replicaSet: Rule = (spec, status, conditions) => {
  if (conditions.get("ReplicaFailure")?.status === "True")
    return inProgress("cannot create its replicas");
  const want = count(spec["replicas"], 1);
  const short = firstShort([
    [count(status["fullyLabeledReplicas"]), want, "are labelled"],
    [count(status["availableReplicas"]), want, "are available"],
    [count(status["readyReplicas"]), want, "are ready"],
    [want, count(status["replicas"]), "are wanted"],
  ]);
  return short ?? current;
};

const job: Rule = (spec, _, conditions) => {
  if (spec["suspend"] === true || conditions.get("Complete")?.status === "True") return current;
  if (conditions.get("Failed")?.status === "True")
    return failed(conditions.get("Failed")?.message ?? "");
  return inProgress("has not completed");
};

const pod: Rule = (_, status, conditions) => {
  const phase = status["phase"];
  if (phase === "Succeeded" || phase === "Failed") return current;
  if (phase === "Running" && conditions.get("Ready")?.status === "True") return current;
  const waiting = asList(status["containerStatuses"]).map((c) =>
    asMap(asMap(asMap(c)["state"])["waiting"]),
  );
  if (waiting.some((w) => w["reason"] === "CrashLoopBackOff"))
    return failed("a container crashes again and again");
  return inProgress(`is ${asString(phase) ?? "Pending"}`);
};

const definition: Rule = (_, __, conditions) => {
  if (conditions.get("NamesAccepted")?.status === "False")
    return failed("its names are not accepted");
  const established = conditions.get("Established");
  if (established?.status === "True") return current;
  if (established !== undefined && established.reason !== "Installing")
    return failed(established.message);
  return inProgress("is not Established");
};

const service: Rule = (spec) =>
  spec["type"] === "LoadBalancer" && (asString(spec["clusterIP"]) ?? "") === ""
    ? inProgress("has no cluster IP")
    : current;

const claim: Rule = (_, status) =>
  status["phase"] === "Bound" ? current : inProgress("is not Bound");

const always: Rule = () => current;

const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries([...alwaysCurrent].map((kind) => [kind, always])),
  "/Service": service,
  "/Pod": pod,
  "/PersistentVolumeClaim": claim,
  "apps/Deployment": deployment,
  "apps/StatefulSet": statefulSet,
  "apps/DaemonSet": daemonSet,
  "apps/ReplicaSet": replicaSet,
  "batch/Job": job,
  "apiextensions.k8s.io/CustomResourceDefinition": definition,
};
