import type { CommandModule } from "yargs";
import {
  conditionOf,
  crds,
  hubResources,
  type Condition,
  type Fleet,
  type FleetMember,
  type Receiver,
} from "../../pkg/api/index.ts";
import { capiGroup, capiVersion, clusterFacts, clusterResource } from "../../pkg/capi/index.ts";
import {
  CapitanError,
  codes,
  isCapitanError,
  messageOf,
  type Code,
} from "../../pkg/errors/index.ts";
import { clusterKey, clusterOf, type ClusterFacts } from "../../pkg/cluster/index.ts";
import { systemNamespace } from "../../pkg/install/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { ApiError, Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { expiryOf } from "../../pkg/kubeconfig/index.ts";
import { healthOf, nameOf, idOf, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { eachCluster } from "./each-cluster.ts";
import { hubErrorOf, hubOptions, remedyOf, withHub, type HubArguments } from "./hub.ts";
import { inNamespace, listOf } from "./listing.ts";
import { connectionOf, readLedger, withWorkload } from "./on-cluster.ts";
import { clean, coloured, formatted, outputOption } from "./text.ts";
import { WrongUsage } from "./usage.ts";
import { notLookedAt } from "./wait.ts";

type Arguments = HubArguments & {
  readonly namespace?: string | undefined;
  readonly selector?: string | undefined;
  readonly output: string;
};

/** One thing that was looked at. `code` and `remedy` when it is not as it should be. */
type Finding = {
  readonly about: string;
  readonly ok: boolean;
  readonly message: string;
  readonly code?: string;
  readonly remedy?: string;
};

/** `capitan check`: the hub, every connection, every Flux. Exit 1 when something is wrong. */
export const check: CommandModule<object, Arguments> = {
  command: "check",
  describe: "Check the hub, every connection and every Flux; exit 1 when something is wrong",
  builder: (y) =>
    y.options({
      ...hubOptions,
      namespace: { alias: "n", type: "string", describe: "Only Clusters of this namespace" },
      selector: {
        alias: "l",
        type: "string",
        describe: "Only Clusters with these labels, and of Fleets what is on them",
      },
      ...outputOption,
    }),
  handler: (args) =>
    withHub(args, async (hub) => {
      const found = await checkAll(hub, args);
      process.stdout.write(
        args.output === "json" || args.output === "yaml"
          ? formatted(found, args.output)
          : found.map(lineOf).join(""),
      );
      if (found.some(({ ok }) => !ok)) process.exitCode = 1;
    }),
};

const lease: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};
const crdResource: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
};
const deployments: Resource = {
  group: "apps",
  version: "v1",
  kind: "Deployment",
  plural: "deployments",
  namespaced: true,
};

/** A leader renews every two seconds. */
const staleLeaseMs = 30_000;
/** A certificate that ends sooner is worth a word. */
const expirySoonMs = 7 * 24 * 3_600_000;

/** Fleets and clusters are looked at whenever the hub can name them, also when no controller runs. */
async function checkAll(hub: KubeClient, args: Arguments): Promise<readonly Finding[]> {
  const basics = await checkHub(hub);
  if (basics.some(({ ok }) => !ok)) return basics;
  const isWhole = args.selector === undefined;
  return [
    ...basics,
    ...(await lookAtAll("controller", async () => [await checkLeader(hub)])),
    ...(isWhole ? await lookAtAll("Receivers", () => checkReceivers(hub, args)) : []),
    ...(isWhole ? await lookAtAll("Fleets", () => checkFleets(hub, args)) : []),
    ...(await lookAtAll("clusters", () => checkClusters(hub, args))),
  ];
}

/** Does one look; what it throws is the finding. */
async function look(about: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { about, ok: true, message: await work() };
  } catch (error) {
    return troubleWith(about, error);
  }
}

/** As `look`, for what finds more than one thing. */
async function lookAtAll(
  about: string,
  work: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await work();
  } catch (error) {
    return [troubleWith(about, error)];
  }
}

function troubleWith(about: string, error: unknown): Finding {
  if (error instanceof WrongUsage) throw error;
  const known = error instanceof ApiError ? hubErrorOf(error) : error;
  const told = isCapitanError(known) ? known : new CapitanError("InternalError", messageOf(known));
  return { about, ok: false, message: told.message, code: told.code, remedy: remedyOf(told) };
}

const wrong = (about: string, message: string, remedy: string): Finding => ({
  about,
  ok: false,
  message,
  remedy,
});

async function checkHub(hub: KubeClient): Promise<readonly Finding[]> {
  const reached = await look("hub", async () => {
    const version = asString(asMap(await hub.raw("/version"))["gitVersion"]) ?? "?";
    return `Kubernetes ${version}`;
  });
  if (!reached.ok) return [reached];
  const installed = () => Promise.all([checkDefinitions(hub), checkClusterApi(hub)]);
  return [reached, ...(await lookAtAll("Capitan", installed))];
}

async function checkDefinitions(hub: KubeClient): Promise<Finding> {
  const missing = await missingDefinitions(hub);
  return missing.length === 0
    ? { about: "Capitan", ok: true, message: `${crds.length} CRDs are established` }
    : wrong("Capitan", `missing or not established: ${missing.join(", ")}`, "Run capitan install.");
}

async function checkClusterApi(hub: KubeClient): Promise<Finding> {
  const apiVersion = `${capiGroup}/${capiVersion}`;
  const served = await new Discovery(hub).find(apiVersion, "Cluster");
  return served === undefined
    ? wrong(
        "Cluster API",
        `the hub does not serve ${apiVersion}`,
        codes.CapiVersionUnsupported.remedy,
      )
    : { about: "Cluster API", ok: true, message: apiVersion };
}

async function missingDefinitions(hub: KubeClient): Promise<readonly string[]> {
  const states = await Promise.all(
    crds.map(async ({ metadata }) => {
      const live = await hub.get(crdResource, { name: metadata.name });
      return live !== undefined && healthOf(live).state === "Current" ? [] : [metadata.name];
    }),
  );
  return states.flat();
}

async function checkLeader(hub: KubeClient): Promise<Finding> {
  const name = { namespace: systemNamespace, name: "capitan-controller" };
  const spec = asMap((await hub.get(lease, name))?.["spec"]);
  const holder = asString(spec["holderIdentity"]) ?? "";
  const renewed = Date.parse(asString(spec["renewTime"]) ?? "");
  const remedy = `Look at the controller's pods: kubectl -n ${systemNamespace} get pods.`;
  if (holder === "" || Number.isNaN(renewed))
    return wrong("controller", "nobody leads: no controller is running", remedy);
  const ageMs = Date.now() - renewed;
  if (ageMs > staleLeaseMs)
    return wrong(
      "controller",
      `${holder} has not renewed its Lease for ${Math.round(ageMs / 1000)} s`,
      remedy,
    );
  return { about: "controller", ok: true, message: `${holder} leads` };
}

async function checkReceivers(hub: KubeClient, args: Arguments): Promise<readonly Finding[]> {
  const receivers = await listOf(hub, hubResources.receiver, args);
  return (receivers as unknown as readonly Receiver[]).map(checkReceiver);
}

async function checkFleets(hub: KubeClient, args: Arguments): Promise<readonly Finding[]> {
  const fleets = await listOf(hub, hubResources.fleet, args);
  return (fleets as unknown as readonly Fleet[]).map(checkFleet);
}

async function checkClusters(
  hub: KubeClient,
  { namespace, selector }: Arguments,
): Promise<readonly Finding[]> {
  const clusters = (await listOf(hub, clusterResource, { namespace, selector })).map(clusterFacts);
  if (clusters.length === 0) return noClusters(namespace, selector);
  const all = await listOf(hub, hubResources.fleetMember, { namespace });
  const members = all as unknown as readonly FleetMember[];
  const checked = await eachCluster(clusters, async (cluster) => {
    const own = members.filter((member) => clusterKey(clusterOf(member)) === clusterKey(cluster));
    const found = await checkCluster(hub, cluster, own);
    // Without labels the Fleets have said it, of all their clusters.
    return selector === undefined ? found : [...found, ...own.map(checkMember)];
  });
  return checked.flat();
}

/** Whoever names clusters by their labels means some; a namespace may be empty yet. */
function noClusters(
  namespace: string | undefined,
  selector: string | undefined,
): readonly Finding[] {
  const where = inNamespace(namespace);
  if (selector !== undefined) {
    const message = `no Cluster${where} has the labels ${selector}`;
    return [wrong("clusters", message, "See capitan get clusters.")];
  }
  return where === "" ? [] : [{ about: "clusters", ok: true, message: `there are none${where}` }];
}

function checkMember({ metadata, status }: FleetMember): Finding {
  const about = `FleetMember ${metadata.namespace ?? ""}/${metadata.name}`;
  const ready = conditionOf(status?.conditions, "Ready");
  return ready?.status === "False"
    ? notReady(about, ready, "See capitan describe member.")
    : { about, ok: true, message: ready?.message ?? notLookedAt };
}

function checkFleet({ metadata, status }: Fleet): Finding {
  const about = `Fleet ${metadata.namespace ?? ""}/${metadata.name}`;
  const ready = conditionOf(status?.conditions, "Ready");
  return ready?.status === "False"
    ? notReady(about, ready, "See capitan describe fleet.")
    : { about, ok: true, message: `${status?.summary ?? "0/0"} ready` };
}

function checkReceiver({ metadata, status }: Receiver): Finding {
  const { namespace = "", name } = metadata;
  const about = `Receiver ${namespace}/${name}`;
  const ready = conditionOf(status?.conditions, "Ready");
  const isSeen = status?.observedGeneration === metadata.generation;
  if (ready === undefined || !isSeen)
    return wrong(
      about,
      "no receiver has looked at it",
      `Run capitan install with --platform-namespace ${namespace}, and look at the pods: kubectl -n ${systemNamespace} get pods.`,
    );
  return ready.status === "True"
    ? { about, ok: true, message: ready.message }
    : notReady(about, ready, "See capitan get receivers.");
}

function notReady(about: string, { reason, message }: Condition, otherwise: string): Finding {
  const code = reason as Code;
  const remedy = Object.hasOwn(codes, code) ? codes[code].remedy : otherwise;
  return { about, ok: false, message, code, remedy };
}

async function checkCluster(
  hub: KubeClient,
  cluster: ClusterFacts,
  members: readonly FleetMember[],
): Promise<readonly Finding[]> {
  const name = `cluster ${cluster.namespace}/${cluster.name}`;
  if (cluster.deleting || !cluster.controlPlaneInitialized) {
    const message = cluster.deleting
      ? "is being deleted"
      : "its control plane is not initialized yet";
    return [{ about: name, ok: true, message }];
  }
  const connection = await look(name, () => connected(hub, cluster, members));
  if (!connection.ok) return [connection];
  const flux = await look(`${name}: Flux`, () => withWorkload(hub, cluster, fluxOn));
  return [connection, ...(flux.message === "" ? [] : [flux])];
}

async function connected(
  hub: KubeClient,
  cluster: ClusterFacts,
  members: readonly FleetMember[],
): Promise<string> {
  const expiry = expiryOf(await connectionOf(hub, cluster));
  const said = await withWorkload(hub, cluster, async (workload) => {
    const version = asString(asMap(await workload.raw("/version"))["gitVersion"]) ?? "?";
    const { inventory } = await readLedger(workload, cluster);
    return `Kubernetes ${version}, ${members.length === 1 ? "1 Fleet" : `${members.length} Fleets`}, ${inventory.size} objects`;
  });
  const leftMs = (expiry?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now();
  if (expiry === undefined || leftMs > expirySoonMs) return said;
  return `${said}; the kubeconfig's certificate ends at ${expiry.toISOString()}`;
}

/** As `flux check` does: the Deployments that are part of Flux, and its definitions. Empty when there is no Flux. */
async function fluxOn(workload: KubeClient): Promise<string> {
  const labelSelector = "app.kubernetes.io/part-of=flux";
  const { items } = await workload.list(deployments, { labelSelector });
  if (items.length === 0) return "";
  const definitions = (await workload.list(crdResource, { labelSelector })).items;
  const bad = [...items, ...definitions].filter((object) => healthOf(object).state !== "Current");
  if (bad.length > 0) throw new CapitanError("HealthFailed", bad.map(troubleOf).join("; "));
  const version = items[0]?.metadata.labels?.["app.kubernetes.io/version"] ?? "?";
  return `${version}, ${items.length} Deployments and ${definitions.length} CRDs are healthy`;
}

function troubleOf(object: KubeObject): string {
  const health = healthOf(object);
  const why = health.state === "Current" ? "" : health.message;
  return `${nameOf(idOf(object))}: ${why}`;
}

function lineOf({ about, ok, message, code, remedy }: Finding): string {
  const sign = coloured(ok ? "✔" : "✗", ok ? "True" : "False");
  const head = `${sign} ${clean(`${about}: ${code === undefined ? "" : `${code}: `}${message}`).replaceAll("\n", " ")}\n`;
  return remedy === undefined ? head : `${head}  → ${remedy}\n`;
}
