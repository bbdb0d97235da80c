import type { KubeObject } from "../object/index.ts";
import { labels, podLabelsOf, systemNamespace } from "./names.ts";

/** One of our processes, as a Deployment runs it. */
export type Process = {
  /** Of its ServiceAccount, and of everything that belongs to it. */
  readonly name: string;
  readonly container: string;
  /** With tag or digest. */
  readonly image: string;
  readonly replicas: number;
  /** Its file below cmd, and its arguments. */
  readonly main: string;
  readonly args: readonly string[];
  /** Where it listens besides `metricsPort`. */
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly memory: { readonly request: string; readonly limit: string };
  /** Of the memory limit, what JavaScript's heap may take; the rest is for buffers. */
  readonly heapMegabytes: number;
  readonly cpuLimit: string;
  /** What its Service gives to others. */
  readonly servicePorts: readonly {
    readonly name: string;
    readonly port: number;
    readonly targetPort: string;
  }[];
  /** Writable directories, emptied with the pod. */
  readonly directories: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly sizeLimit: string;
  }[];
  /** What its pods may connect to. */
  readonly egress: readonly object[];
  /** How long a pod that is to end still answers, so that nobody is sent to it any more when it stops. */
  readonly lingerSeconds: number;
};

/** Health and metrics, of every process. */
export const metricsPort = 8080;
const tmpDir = "/tmp";

/** The Deployment, and what belongs around it. */
export function manifestsOf(process: Process): readonly KubeObject[] {
  return [deployment(process), disruptionBudget(process), service(process), networkPolicy(process)];
}

const metadataOf = ({ name }: Process) => ({ name, namespace: systemNamespace, labels });

function deployment(process: Process): KubeObject {
  const podLabels = podLabelsOf(process.name);
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadataOf(process),
    spec: {
      replicas: process.replicas,
      selector: { matchLabels: podLabels },
      template: {
        metadata: {
          labels: podLabels,
          annotations: {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": String(metricsPort),
          },
        },
        spec: podSpec(process),
      },
    },
  };
}

function podSpec(process: Process) {
  const spread = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: podLabelsOf(process.name) },
    // Pods of an older version, which are about to go, do not count.
    matchLabelKeys: ["pod-template-hash"],
  };
  return {
    serviceAccountName: process.name,
    automountServiceAccountToken: true,
    enableServiceLinks: false,
    // `lingerSeconds`, and the drain of a process, which takes 10 s at most.
    terminationGracePeriodSeconds: 30,
    nodeSelector: { "kubernetes.io/os": "linux" },
    topologySpreadConstraints: [spread],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65534,
      runAsGroup: 65534,
      fsGroup: 1337,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [container(process)],
    volumes: directoriesOf(process).map(({ name, sizeLimit }) => ({
      name,
      emptyDir: { sizeLimit },
    })),
  };
}

function container(process: Process) {
  const probe = (path: string) => ({ httpGet: { path, port: "http" }, timeoutSeconds: 5 });
  return {
    name: process.container,
    image: process.image,
    imagePullPolicy: "IfNotPresent",
    command: ["node", process.main],
    args: process.args,
    env: [
      { name: "HOME", value: tmpDir },
      { name: "NODE_OPTIONS", value: `--max-old-space-size=${process.heapMegabytes}` },
    ],
    ports: [{ name: "http", containerPort: metricsPort }, ...process.ports].map((port) => ({
      ...port,
      protocol: "TCP",
    })),
    // A process takes a second or two to listen, more on a busy node; the first look at readiness follows at once.
    startupProbe: {
      ...probe("/healthz"),
      initialDelaySeconds: 3,
      periodSeconds: 1,
      failureThreshold: 60,
    },
    livenessProbe: { ...probe("/healthz"), periodSeconds: 10, failureThreshold: 6 },
    readinessProbe: { ...probe("/readyz"), periodSeconds: 5 },
    ...lifecycleOf(process),
    resources: {
      requests: { cpu: "100m", memory: process.memory.request },
      limits: { cpu: process.cpuLimit, memory: process.memory.limit },
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      privileged: false,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: directoriesOf(process).map(({ name, mountPath }) => ({ name, mountPath })),
  };
}

/** The kubelet's own sleep, of Kubernetes 1.30, since there is no program `sleep` in the image. */
const lifecycleOf = ({ lingerSeconds: seconds }: Process) =>
  seconds === 0 ? {} : { lifecycle: { preStop: { sleep: { seconds } } } };

const directoriesOf = ({ directories }: Process) => [
  ...directories,
  { name: "tmp", mountPath: tmpDir, sizeLimit: "64Mi" },
];

/** One pod at a time may be taken away; with `minAvailable`, one replica alone would make drains of nodes hang. */
function disruptionBudget(process: Process): KubeObject {
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: metadataOf(process),
    spec: { maxUnavailable: 1, selector: { matchLabels: podLabelsOf(process.name) } },
  };
}

function service(process: Process): KubeObject {
  const metrics = { name: "http-metrics", port: metricsPort, targetPort: "http" };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadataOf(process),
    spec: {
      selector: podLabelsOf(process.name),
      ports: [metrics, ...process.servicePorts].map((port) => ({ ...port, protocol: "TCP" })),
    },
  };
}

function networkPolicy(process: Process): KubeObject {
  const ports = ["http", ...process.ports.map(({ name }) => name)];
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: metadataOf(process),
    spec: {
      podSelector: { matchLabels: podLabelsOf(process.name) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ ports: ports.map((port) => ({ port, protocol: "TCP" })) }],
      egress: process.egress,
    },
  };
}
