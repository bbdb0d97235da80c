import { stringify } from "yaml";
import { CapitanError } from "../../pkg/errors/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { healthOf, idOf, nameOf, type KubeObject } from "../../pkg/object/index.ts";
import { resourceOf } from "./hub.ts";

/** The name by which fields are owned that a person applied with this CLI. */
export const manager = "capitan-install";
const establishedMs = 30_000;

/** What applying an object came to. */
export type Outcome = "created" | "changed" | "unchanged";

/** A line for each object, as kubectl has it. */
export const toldPlainly = (name: string, outcome: Outcome): void =>
  void process.stdout.write(`${name} ${outcome === "created" ? "created" : "applied"}\n`);

/** Objects as a file for Git. */
export function manifestText(objects: readonly KubeObject[]): string {
  const options = { aliasDuplicateObjects: false, lineWidth: 0 };
  return objects.map((object) => `---\n${stringify(object, options)}`).join("");
}

/** Applies what Capitan itself is made of, and waits until the CRDs are served. Throws HealthTimeout, UnknownKind. */
export async function applyManifests(
  hub: KubeClient,
  objects: readonly KubeObject[],
  told: (name: string, outcome: Outcome) => void,
): Promise<void> {
  const discovery = new Discovery(hub);
  for (const object of objects) {
    const resource = await resourceOf(discovery, object);
    const before = await hub.get(resource, object.metadata);
    const { created, object: after } = await hub.apply(resource, object, { manager });
    const isSame = before?.metadata.resourceVersion === after.metadata.resourceVersion;
    told(nameOf(idOf(object)), created ? "created" : isSame ? "unchanged" : "changed");
  }
  await established(hub, discovery, objects);
}

async function established(
  hub: KubeClient,
  discovery: Discovery,
  objects: readonly KubeObject[],
): Promise<void> {
  const definitions = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
  const deadline = performance.now() + establishedMs;
  for (const definition of definitions) {
    const resource = await resourceOf(discovery, definition);
    const live = () => hub.get(resource, definition.metadata);
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
