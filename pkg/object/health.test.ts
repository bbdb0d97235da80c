import assert from "node:assert/strict";
import { test } from "node:test";
import { healthOf, type Health, type KubeObject } from "./index.ts";

const make = (apiVersion: string, kind: string, fields: object): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name: "a", generation: 2 },
  ...fields,
});
const ready = {
  observedGeneration: 2,
  replicas: 1,
  updatedReplicas: 1,
  availableReplicas: 1,
  readyReplicas: 1,
};
const yes = (type: string, reason = "R") => ({ type, status: "True", reason, message: "m" });
const no = (type: string, reason = "R") => ({ type, status: "False", reason, message: "m" });
const deployment = (status: object, spec: object = { replicas: 1, progressDeadlineSeconds: 600 }) =>
  make("apps/v1", "Deployment", { spec, status });
const rolledOut = [yes("Available"), yes("Progressing", "NewReplicaSetAvailable")];

const cases: readonly (readonly [
  name: string,
  object: KubeObject,
  state: Health["state"],
  message?: RegExp,
])[] = [
  ["a ConfigMap", make("v1", "ConfigMap", {}), "Current"],
  [
    "anything being deleted",
    make("v1", "ConfigMap", { metadata: { name: "a", deletionTimestamp: "t" } }),
    "Terminating",
  ],
  [
    "a status of an older generation",
    deployment({ ...ready, observedGeneration: 1, conditions: rolledOut }),
    "InProgress",
    /observed/,
  ],
  ["a Deployment that has not begun", deployment({}), "InProgress", /0 of 1 replicas exist/],
  ["a Deployment that is rolled out", deployment({ ...ready, conditions: rolledOut }), "Current"],
  [
    "a Deployment with an old replica left",
    deployment({ ...ready, replicas: 2, conditions: rolledOut }),
    "InProgress",
  ],
  [
    "a Deployment whose replica is not available",
    deployment({ ...ready, availableReplicas: 0, conditions: rolledOut }),
    "InProgress",
    /available/,
  ],
  [
    "a Deployment that is still progressing",
    deployment({ ...ready, conditions: [yes("Available")] }),
    "InProgress",
    /rolling out/,
  ],
  [
    "a Deployment without a deadline, which need not say Progressing",
    deployment({ ...ready, conditions: [yes("Available")] }, { replicas: 1 }),
    "Current",
  ],
  [
    "a Deployment past its deadline",
    deployment({ ...ready, conditions: [no("Progressing", "ProgressDeadlineExceeded")] }),
    "Failed",
  ],
  [
    "a Deployment scaled to nothing",
    deployment(
      { observedGeneration: 2, conditions: rolledOut },
      { replicas: 0, progressDeadlineSeconds: 1 },
    ),
    "Current",
  ],
  [
    "a StatefulSet with OnDelete",
    make("apps/v1", "StatefulSet", { spec: { updateStrategy: { type: "OnDelete" } } }),
    "Current",
  ],
  [
    "a StatefulSet that is ready",
    make("apps/v1", "StatefulSet", {
      spec: { replicas: 1 },
      status: {
        replicas: 1,
        readyReplicas: 1,
        currentReplicas: 1,
        currentRevision: "r",
        updateRevision: "r",
      },
    }),
    "Current",
  ],
  [
    "a StatefulSet between revisions",
    make("apps/v1", "StatefulSet", {
      spec: { replicas: 1 },
      status: {
        replicas: 1,
        readyReplicas: 1,
        currentReplicas: 1,
        currentRevision: "r",
        updateRevision: "s",
      },
    }),
    "InProgress",
  ],
  ["a DaemonSet that nobody has observed", make("apps/v1", "DaemonSet", {}), "InProgress"],
  [
    "a DaemonSet on no node",
    make("apps/v1", "DaemonSet", { status: { observedGeneration: 2, desiredNumberScheduled: 0 } }),
    "Current",
  ],
  ["a running Job", make("batch/v1", "Job", { status: { active: 1 } }), "InProgress"],
  [
    "a complete Job",
    make("batch/v1", "Job", { status: { conditions: [yes("Complete")] } }),
    "Current",
  ],
  ["a failed Job", make("batch/v1", "Job", { status: { conditions: [yes("Failed")] } }), "Failed"],
  ["a suspended Job", make("batch/v1", "Job", { spec: { suspend: true } }), "Current"],
  [
    "a crashing Pod",
    make("v1", "Pod", {
      status: {
        phase: "Running",
        containerStatuses: [{ state: { waiting: { reason: "CrashLoopBackOff" } } }],
      },
    }),
    "Failed",
  ],
  [
    "a PVC that is not bound",
    make("v1", "PersistentVolumeClaim", { status: { phase: "Pending" } }),
    "InProgress",
  ],
  [
    "an established CRD",
    make("apiextensions.k8s.io/v1", "CustomResourceDefinition", {
      status: { conditions: [yes("NamesAccepted"), yes("Established")] },
    }),
    "Current",
  ],
  [
    "a CRD whose names are taken",
    make("apiextensions.k8s.io/v1", "CustomResourceDefinition", {
      status: { conditions: [no("NamesAccepted")] },
    }),
    "Failed",
  ],
  [
    "a fresh CRD with conditions null",
    make("apiextensions.k8s.io/v1", "CustomResourceDefinition", { status: { conditions: null } }),
    "InProgress",
  ],
  [
    "a LoadBalancer without address",
    make("v1", "Service", { spec: { type: "LoadBalancer" } }),
    "InProgress",
  ],
  ["a custom resource without status", make("example.com/v1", "Thing", {}), "Current"],
  [
    "a custom resource that is Ready",
    make("example.com/v1", "Thing", { status: { conditions: [yes("Ready")] } }),
    "Current",
  ],
  [
    "a custom resource that is not Ready",
    make("example.com/v1", "Thing", { status: { conditions: [no("Ready")] } }),
    "InProgress",
    /^m$/,
  ],
  [
    "a custom resource that is Stalled",
    make("example.com/v1", "Thing", { status: { conditions: [yes("Stalled"), yes("Ready")] } }),
    "Failed",
  ],
  [
    "a custom resource that is Reconciling",
    make("example.com/v1", "Thing", { status: { conditions: [yes("Reconciling"), yes("Ready")] } }),
    "InProgress",
  ],
];

for (const [name, object, state, message] of cases) {
  test(`${name} is ${state}`, () => {
    const health = healthOf(object);
    assert.equal(health.state, state);
    if (message !== undefined) assert.match(health.message, message);
  });
}
