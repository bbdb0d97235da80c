import type { Argv, CommandModule } from "yargs";
import { systemNamespace, tenantManifests, tenantOnCluster } from "../../pkg/install/index.ts";
import { applyManifests, manifestText, toldPlainly } from "./apply-manifests.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { withWorkload } from "./on-cluster.ts";
import { repeatable } from "./repeatable.ts";

const namePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const objectNamePattern = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const reserved = new Set(["default", systemNamespace]);

type TenantArguments = HubArguments & {
  readonly name: string;
  readonly "service-account"?: string | undefined;
  readonly secret?: readonly string[] | undefined;
  readonly cluster?: readonly string[] | undefined;
  readonly "cluster-role": string;
  readonly export: boolean;
};

/** `capitan create tenant NAME`: a namespace whose Fleets act as its own ServiceAccount, on the hub and on clusters. */
export const createTenant: CommandModule<object, TenantArguments> = {
  command: "tenant <name>",
  describe:
    "Set up a namespace whose Fleets act as its own ServiceAccount, on the hub and on clusters",
  builder,
  handler: async (args) => {
    const { name, secret = [], cluster = [] } = args;
    const tenant = { namespace: name, serviceAccount: args["service-account"] ?? name };
    const onHub = tenantManifests({ ...tenant, secrets: [...new Set(secret)].sort() });
    const onCluster = tenantOnCluster(tenant, args["cluster-role"]);
    if (args.export) {
      process.stdout.write(manifestText(cluster.length === 0 ? onHub : onCluster));
      return;
    }
    await withHub(args, async (hub) => {
      await applyManifests(hub, onHub, toldPlainly);
      for (const one of cluster) {
        process.stdout.write(`on cluster ${name}/${one}:\n`);
        await withWorkload(hub, { namespace: name, name: one }, (workload) =>
          applyManifests(workload, onCluster, toldPlainly),
        );
      }
    });
  },
};

function builder(y: Argv) {
  return repeatable(y, "secret", "cluster")
    .options({
      ...hubOptions,
      "service-account": {
        type: "string",
        describe: "The ServiceAccount that Fleets name; like the tenant when not set",
      },
      secret: {
        type: "string",
        array: true,
        nargs: 1,
        describe: "A Secret on the hub that the ServiceAccount may read; repeatable",
      },
      cluster: {
        type: "string",
        array: true,
        nargs: 1,
        describe:
          "A Cluster of the tenant's namespace to set up too; repeatable. With --export only what is applied there is printed",
      },
      "cluster-role": {
        type: "string",
        default: "admin",
        describe: "What the ServiceAccount may do on clusters, in its namespace only",
      },
      export: {
        type: "boolean",
        default: false,
        describe: "Print the manifests as YAML, for Git, instead of applying them",
      },
    })
    .positional("name", { type: "string", demandOption: true, describe: "The namespace" })
    .check((args) => wrongArgument(args) ?? true);
}

function wrongArgument(args: TenantArguments): string | undefined {
  const { name, secret = [] } = args;
  if (!namePattern.test(name)) return `${name} is no namespace's name`;
  if (reserved.has(name) || name.startsWith("kube-")) return `${name} cannot be a tenant`;
  const names = [args["service-account"] ?? name, ...secret];
  const wrong = names.find((one) => !objectNamePattern.test(one));
  return wrong === undefined ? undefined : `${wrong} is no object's name`;
}
