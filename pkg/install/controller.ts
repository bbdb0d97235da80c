import type { KubeObject } from "../object/index.ts";
import { controllerAccount } from "./names.ts";
import { manifestsOf, metricsPort } from "./process.ts";

/** How the controller is to run on the hub. */
export type ControllerOptions = {
  readonly image: string;
  readonly platformNamespaces: readonly string[];
  /** One leads, the others wait. */
  readonly replicas: number;
  /** What Fleets outside the platform namespaces act as when they name no ServiceAccount. */
  readonly defaultServiceAccount?: string | undefined;
  /** Where Flux's notification-controller listens. */
  readonly eventsAddress: string | undefined;
};

const cacheDir = "/cache";

/** The controller's Deployment, and what belongs around it. */
export function controllerManifests(options: ControllerOptions): readonly KubeObject[] {
  return manifestsOf({
    name: controllerAccount,
    container: "controller",
    image: options.image,
    replicas: options.replicas,
    main: "cmd/controller/main.ts",
    args: argsOf(options),
    ports: [],
    memory: { request: "256Mi", limit: "1Gi" },
    heapMegabytes: 768,
    cpuLimit: "2",
    servicePorts: [],
    directories: [{ name: "cache", mountPath: cacheDir, sizeLimit: "2Gi" }],
    // DNS, and TCP, since API servers and registries may be anywhere on any port.
    egress: [{ ports: [{ port: 53, protocol: "UDP" }, { protocol: "TCP" }] }],
    // Nobody needs it to answer; the sooner it ends, the sooner the next one leads.
    lingerSeconds: 0,
  });
}

function argsOf(options: ControllerOptions): readonly string[] {
  const { platformNamespaces, defaultServiceAccount, eventsAddress } = options;
  return [
    ...platformNamespaces.map((name) => `--platform-namespace=${name}`),
    ...(defaultServiceAccount === undefined
      ? []
      : [`--default-service-account=${defaultServiceAccount}`]),
    // No host: all addresses of the pod, of both families.
    `--metrics-address=:${metricsPort}`,
    `--cache-dir=${cacheDir}`,
    ...(eventsAddress === undefined ? [] : [`--events-addr=${eventsAddress}`]),
  ];
}
