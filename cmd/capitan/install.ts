import type { CommandModule } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import { installManifests } from "../../pkg/install/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { healthOf, idOf, nameOf, type KubeObject } from "../../pkg/object/index.ts";
import { hubOptions, withHub } from "./hub.ts";

const manager = "capitan-install";
const establishedMs = 30_000;

/** `capitan install` */
export const install: CommandModule<object, { kubeconfig?: string | undefined }> = {
  command: "install",
  describe:
    "Install Capitan's CRDs, namespace, ServiceAccount and rights on the hub; safe to repeat",
  builder: hubOptions,
  handler: ({ kubeconfig }) => withHub(kubeconfig, applyAll),
};

async function applyAll(hub: KubeClient): Promise<void> {
  const discovery = new Discovery(hub);
  for (const object of installManifests()) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    if (resource === undefined)
      throw new CapitanError(
        "UnknownKind",
        `the hub does not serve ${object.apiVersion} ${object.kind}`,
      );
    const { created } = await hub.apply(resource, object, { manager });
    process.stdout.write(`${nameOf(idOf(object))} ${created ? "created" : "applied"}\n`);
  }
  await established(hub, discovery);
}

async function established(hub: KubeClient, discovery: Discovery): Promise<void> {
  const definitions = installManifests().filter(({ kind }) => kind === "CustomResourceDefinition");
  const resource = await discovery.find("apiextensions.k8s.io/v1", "CustomResourceDefinition");
  const deadline = performance.now() + establishedMs;
  for (const definition of definitions) {
    const live = () =>
      resource === undefined ? Promise.resolve(undefined) : hub.get(resource, definition.metadata);
    for (let object = await live(); !isCurrent(object); object = await live()) {
      if (performance.now() > deadline)
        throw new CapitanError(
          "HealthTimeout",
          `${nameOf(idOf(definition))} is not established after ${establishedMs / 1000} s`,
        );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const isCurrent = (object: KubeObject | undefined) =>
  object !== undefined && healthOf(object).state === "Current";
