import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, podLabels, systemNamespace } from "./names.ts";

/** How the controller is to run on the hub. */
export type ProcessOptions = {
  /** With tag or digest. */
  readonly image: string;
  readonly platformNamespaces: readonly string[];
  /** One leads, the others wait. */
  readonly replicas: number;
  /** What Fleets outside the platform namespaces act as when they name no ServiceAccount. */
  readonly defaultServiceAccount?: string | undefined;
  /** Where Flux's notification-controller listens. */
  readonly eventsAddress: string | undefined;
};

const port = 8080;
const cacheDir = "/cache";
const tmpDir = "/tmp";
/** Of the memory limit, what JavaScript's heap may take; the rest is for buffers. */
const heapMegabytes = 768;

const metadata = { name: controllerAccount, namespace: systemNamespace, labels };

/** The Deployment, and what belongs around it. */
export function processManifests(options: ProcessOptions): readonly KubeObject[] {
  return [deployment(options), disruptionBudget(), service(), networkPolicy()];
}

function deployment(options: ProcessOptions): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      replicas: options.replicas,
      selector: { matchLabels: podLabels },
      template: {
        metadata: {
          labels: podLabels,
          annotations: { "prometheus.io/scrape": "true", "prometheus.io/port": String(port) },
        },
        spec: podSpec(options),
      },
    },
  };
}

function podSpec(options: ProcessOptions) {
  const spread = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: podLabels },
  };
  return {
    serviceAccountName: controllerAccount,
    automountServiceAccountToken: true,
    enableServiceLinks: false,
    // The drain of the controller takes 10 s at most.
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
    containers: [container(options)],
    volumes: [
      { name: "cache", emptyDir: { sizeLimit: "2Gi" } },
      { name: "tmp", emptyDir: { sizeLimit: "64Mi" } },
    ],
  };
}

function container(options: ProcessOptions) {
  const probe = (path: string) => ({ httpGet: { path, port: "http" }, timeoutSeconds: 5 });
  return {
    name: "controller",
    image: options.image,
    imagePullPolicy: "IfNotPresent",
    command: ["node", "cmd/controller/main.ts"],
    args: controllerArgs(options),
    env: [
      { name: "HOME", value: tmpDir },
      { name: "NODE_OPTIONS", value: `--max-old-space-size=${heapMegabytes}` },
    ],
    ports: [{ name: "http", containerPort: port, protocol: "TCP" }],
    livenessProbe: { ...probe("/healthz"), periodSeconds: 10, failureThreshold: 6 },
    readinessProbe: { ...probe("/readyz"), periodSeconds: 5 },
    resources: {
      requests: { cpu: "100m", memory: "256Mi" },
      limits: { cpu: "2", memory: "1Gi" },
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      privileged: false,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "cache", mountPath: cacheDir },
      { name: "tmp", mountPath: tmpDir },
    ],
  };
}

function controllerArgs(options: ProcessOptions): readonly string[] {
  const { platformNamespaces, defaultServiceAccount, eventsAddress } = options;
  return [
    ...platformNamespaces.map((name) => `--platform-namespace=${name}`),
    ...(defaultServiceAccount === undefined
      ? []
      : [`--default-service-account=${defaultServiceAccount}`]),
    // No host: all addresses of the pod, of both families.
    `--metrics-address=:${port}`,
    `--cache-dir=${cacheDir}`,
    ...(eventsAddress === undefined ? [] : [`--events-addr=${eventsAddress}`]),
  ];
}

/** One pod at a time may be taken away; with `minAvailable`, one replica alone would make drains of nodes hang. */
function disruptionBudget(): KubeObject {
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata,
    spec: { maxUnavailable: 1, selector: { matchLabels: podLabels } },
  };
}

function service(): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec: {
      selector: podLabels,
      ports: [{ name: "http-metrics", port, targetPort: "http", protocol: "TCP" }],
    },
  };
}

/** In: metrics and probes. Out: DNS, and TCP, since API servers and registries may be anywhere on any port. */
function networkPolicy(): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata,
    spec: {
      podSelector: { matchLabels: podLabels },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ ports: [{ port: "http", protocol: "TCP" }] }],
      egress: [{ ports: [{ port: 53, protocol: "UDP" }, { protocol: "TCP" }] }],
    },
  };
}
