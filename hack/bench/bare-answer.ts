import { asMap } from "../../pkg/json/index.ts";
import { Informer, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { clientOf } from "../lab/apiserver.ts";
import { labNamespace } from "../lab/lab.ts";
import { serveDefinitions } from "../lab/managers.ts";
import { resources } from "../lab/resources.ts";
import { membersOf } from "./fleets.ts";
import type { Ground, Run } from "./ground.ts";
import { askAll } from "./requested-at.ts";

/** A group of the benchmark's own: what is in it is nobody's but the anchor's. */
const group = "bench.capitan.dev";
const copies: Resource = { ...resources.fleetMember, group };
const apiVersion = `${group}/${copies.version}`;
const manager = "bare";

/**
 * The anchor of a pass in which nothing changed: milliseconds until copies of a run's members are answered that
 * are asked in the same way, by a program that patches the status of each that is asked and looks at nothing.
 */
export async function bareAnswers(ground: Ground, run: Run): Promise<number> {
  const { hub, lab } = ground;
  await serveCopies(hub);
  const members = (await membersOf(hub, run.name)) as unknown as readonly KubeObject[];
  for (const member of members) await copy(hub, member);
  const client = await clientOf(lab.hubKubeconfig);
  const program = await answer(client);
  const names = members.map(({ metadata }) => metadata.name);
  const ms = await askAll(hub, copies, { namespace: labNamespace, names });
  await program.stop();
  await client.close();
  for (const { metadata } of members) {
    const live = await hub.get(copies, metadata);
    if (live !== undefined) await hub.delete(copies, live);
  }
  return ms;
}

/** The kind FleetMember once more, with the same schema. */
async function serveCopies(hub: KubeClient): Promise<void> {
  const name = `${copies.plural}.${group}`;
  if ((await hub.get(resources.crd, { name })) !== undefined) return;
  const ours = await hub.get(resources.crd, { name: `${copies.plural}.capitan.dev` });
  const { names, scope, versions } = asMap(ours?.["spec"]);
  const spec = { group, names, scope, versions };
  const definition = { apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" };
  await serveDefinitions(hub, [{ ...definition, metadata: { name }, spec }]);
}

async function copy(hub: KubeClient, member: KubeObject): Promise<void> {
  const { namespace = "", name, labels } = member.metadata;
  const object = { apiVersion, kind: member.kind, metadata: { namespace, name } };
  const whole = { ...object, metadata: { namespace, name, labels }, spec: member["spec"] };
  await hub.apply(copies, whole as KubeObject, { manager });
  await writeStatus(hub, { ...object, status: member["status"] });
}

const writeStatus = (client: KubeClient, object: KubeObject) =>
  client.apply(copies, object, { manager, metadataOnly: true, subresource: "status" });

/** From now on, says in the status of each copy that is asked for a pass that it was handled. */
async function answer(client: KubeClient): Promise<{ readonly stop: () => Promise<void> }> {
  const answered = new Map<string, string>();
  const underWay = new Set<Promise<unknown>>();
  const stop = new AbortController();
  const informer = new Informer(client, copies, {
    namespace: labNamespace,
    random: Math.random,
    onChange: ({ metadata, ...object }) => {
      const { namespace = "", name } = metadata;
      const asked = metadata.annotations?.[annotations.requestedAt];
      if (asked === undefined || answered.get(name) === asked) return;
      answered.set(name, asked);
      const status = { ...asMap(object["status"]), lastHandledReconcileAt: asked };
      const { kind } = copies;
      underWay.add(
        writeStatus(client, { apiVersion, kind, metadata: { namespace, name }, status }),
      );
    },
  });
  const running = informer.run(stop.signal);
  await informer.synced;
  return {
    stop: async () => {
      await Promise.all(underWay);
      stop.abort();
      await running;
    },
  };
}
