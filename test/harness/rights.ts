import type { AuditEntry } from "../../hack/lab/audit.ts";
import { resources } from "../../hack/lab/resources.ts";
import { until } from "../../hack/lab/wait.ts";
import { controllerAccount, receiverAccount, systemNamespace } from "../../pkg/install/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";

/** What somebody may do; namespace "" is the whole hub. */
export type Right = {
  readonly user: string;
  readonly verb: string;
  readonly resource: string;
  readonly namespace: string;
};
type Rules = readonly { apiGroups: string[]; resources: string[]; verbs: string[] }[];

/** How one of our ServiceAccounts is called as a user. */
export const userOf = (account: string) => `system:serviceaccount:${systemNamespace}:${account}`;

/** What the roles of our processes among these manifests grant, one right for each verb on each resource. */
export function grantedBy(manifests: readonly KubeObject[]): readonly Right[] {
  const ours = [controllerAccount, receiverAccount];
  return manifests.flatMap(({ kind, metadata, rules }) => {
    const account = ours.find((name) => metadata.name.startsWith(name));
    if (account === undefined || !/^(?:Cluster)?Role$/.test(kind)) return [];
    return (rules as Rules).flatMap(({ apiGroups: [group = ""], resources, verbs }) =>
      resources.flatMap((resource) =>
        verbs.map((verb) => ({
          user: userOf(account),
          verb,
          resource: `${group}/${resource}`,
          namespace: metadata.namespace ?? "",
        })),
      ),
    );
  });
}

/**
 * The rights that a request needs: an apply that makes an object needs to create it too, what a watch sends first is
 * listed where an API server cannot do that, and as whom one acts needs to be allowed.
 */
export function rightsOf(entry: AuditEntry): readonly Right[] {
  const { verb, group, resource, subresource, user, requestURI } = entry;
  const [, account] = /^system:serviceaccount:([^:]+):/.exec(entry.impersonated) ?? [];
  if (account !== undefined)
    return [{ user, verb: "impersonate", resource: "/serviceaccounts", namespace: account }];
  const name = `${group}/${resource}${subresource === "" ? "" : `/${subresource}`}`;
  const right = { user, verb, resource: name, namespace: entry.namespace };
  if (verb === "patch" && entry.code === 201) return [right, { ...right, verb: "create" }];
  const isList = verb === "watch" && requestURI.includes("sendInitialEvents=true");
  return isList ? [right, { ...right, verb: "list" }] : [right];
}

export const covers = (grant: Right, need: Right): boolean =>
  grant.user === need.user &&
  grant.verb === need.verb &&
  grant.resource === need.resource &&
  (grant.namespace === "" || grant.namespace === need.namespace);

export const textOf = ({ user, verb, resource, namespace }: Right): string =>
  `${user.split(":").at(-1) ?? ""}: ${verb} ${resource} in ${namespace || "all"}`;

/** A CustomResourceDefinition of a kind Thing. */
export function definitionOf(plural: string, group: string): object {
  const openAPIV3Schema = { type: "object" };
  const version = { name: "v1", served: true, storage: true, schema: { openAPIV3Schema } };
  const names = { plural, singular: "thing", kind: "Thing", listKind: "ThingList" };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: { group, scope: "Namespaced", names, versions: [version] },
  };
}

/** Asks the API server whether one of our ServiceAccounts may do something. */
export const whatMay =
  (hub: KubeClient, account: string) =>
  async (verb: string, group: string, resource: string, namespace?: string): Promise<boolean> => {
    const review = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      metadata: { name: "" },
      spec: { user: userOf(account), resourceAttributes: { verb, group, resource, namespace } },
    };
    const reviews = {
      group: "authorization.k8s.io",
      version: "v1",
      kind: "SubjectAccessReview",
      plural: "subjectaccessreviews",
      namespaced: false,
    };
    const reply = await hub.create(reviews, review);
    return (reply["status"] as { allowed: boolean }).allowed;
  };

/** An object of each of our kinds that layers may bring to the hub, but Fleets. */
export function ownKinds(metadata: { readonly namespace: string; readonly name: string }) {
  const apiVersion = "capitan.dev/v1alpha1";
  const resources = [{ kind: "Fleet", name: "never" }];
  return [
    { kind: "ClusterTemplate", spec: { files: [{ path: "a.yaml", content: "" }] } },
    { kind: "Receiver", spec: { type: "generic", secretRef: { name: "never" }, resources } },
  ].map((object) => ({ apiVersion, metadata, ...object }));
}

/**
 * Waits for an age identity, makes it look old, and its Fleet ask for rotations: the name of the KeyRotation that comes,
 * which cannot begin, since its Secrets are not there.
 */
export async function rotatedWhenOld(
  hub: KubeClient,
  fleet: { readonly namespace: string; readonly name: string },
  identity: { readonly namespace: string; readonly name: string },
): Promise<string> {
  await until(() => hub.get(resources.secret, identity), {
    deadlineMs: 20_000,
    what: "an identity to be made",
  });
  const old = { metadata: { annotations: { "capitan.dev/created": "2020-01-01T00:00:00Z" } } };
  await hub.mergePatch(resources.secret, identity, old);
  const repository = { url: "https://git.example/fleet", secretRef: { name: "none" } };
  const decryption = { secretRef: { name: "none" } };
  const rotation = { rotateEvery: "1h", repository, decryption };
  await hub.mergePatch(resources.fleet, fleet, { spec: { rotation } });
  const labelSelector = `capitan.dev/fleet=${fleet.name}`;
  const found = await until(
    async () =>
      (await hub.list(resources.keyRotation, { namespace: fleet.namespace, labelSelector }))
        .items[0],
    { deadlineMs: 20_000, what: `Fleet ${fleet.name} to have its keys rotated` },
  );
  return found.metadata.name;
}

/** A rotation of a value that no cluster gets: that is said in its status. */
export async function applyLostRotation(client: KubeClient, namespace: string): Promise<void> {
  const [digest, commit] = ["a".repeat(64), "a".repeat(40)];
  const where = { path: "none.sops.yaml", key: '["none"]', modified: "2026-01-01T00:00:00Z" };
  const spec = {
    repository: { url: "https://git.example/fleet" },
    commit,
    files: [{ ...where, value: digest, replaces: digest }],
  };
  const of = { apiVersion: "capitan.dev/v1alpha1", kind: "SecretRotation" };
  const object = { ...of, metadata: { name: "rights", namespace }, spec };
  await client.apply(resources.secretRotation, object, { manager: "test" });
}
