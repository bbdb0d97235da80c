// The ClusterTemplates that we ship, rendered and given to an API server that has the CRDs of the
// providers that they are for, from the providers' own modules.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { serveDefinitions } from "../../hack/lab/managers.ts";
import { providerDefinitions, type ProviderName } from "../../hack/lab/manifests.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { lintTemplate } from "../../pkg/clustertemplate/index.ts";
import { asMap, asString, type JsonMap } from "../../pkg/json/index.ts";
import { groupOf, versionOf, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { decryptFile, generateIdentity, parseIdentities } from "../../pkg/sops/index.ts";
import { startOwnHub, stopOwnHub, type OwnHub } from "../harness/own-hub.ts";
import {
  chance,
  filesOfTemplate,
  manager,
  objectsOfTemplate,
  own,
  password,
  shippedTemplate,
  sops,
} from "../harness/templates.ts";
import { namespace, resources, sharedLab } from "../harness/index.ts";

const providers: readonly ProviderName[] = [
  "core",
  "kubeadm-bootstrap",
  "kubeadm-control-plane",
  "docker",
  "aws",
];
const cluster = { name: "prod-eu-1", namespace };

let lab: LabFile;
let hub: OwnHub;
/** The kinds of all providers, by group and kind. */
let definitions: ReadonlyMap<string, KubeObject>;
before(async () => {
  lab = await sharedLab();
  [hub, definitions] = await Promise.all([
    startOwnHub(lab, "templateshub", lab.ports.lastWorkload - 60),
    readDefinitions(),
  ]);
  const home = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  await hub.client.apply(resources.namespace, home, { manager: "test" });
  const used = new Set<KubeObject>();
  for (const name of ["docker", "aws-eks"])
    for (const object of await objectsOfTemplate(name, cluster)) used.add(definitionOf(object));
  await serveDefinitions(hub.client, [...used]);
});
after(() => stopOwnHub(lab, hub));

async function readDefinitions(): Promise<ReadonlyMap<string, KubeObject>> {
  const all = (await Promise.all(providers.map(providerDefinitions))).flat();
  return new Map(all.map((crd) => [kindOf(crd), crd]));
}

function kindOf(crd: KubeObject): string {
  const { group, names } = asMap(crd["spec"]);
  return `${asString(group) ?? ""}/${asString(asMap(names)["kind"]) ?? ""}`;
}

function definitionOf({ apiVersion, kind }: KubeObject): KubeObject {
  const found = definitions.get(`${groupOf(apiVersion)}/${kind}`);
  assert.ok(found, `no provider has ${apiVersion} ${kind}`);
  return found;
}

function resourceOf(object: KubeObject): Resource {
  const { apiVersion, kind } = object;
  const plural = asString(asMap(asMap(definitionOf(object)["spec"])["names"])["plural"]) ?? "";
  return {
    group: groupOf(apiVersion),
    version: versionOf(apiVersion),
    kind,
    plural,
    namespaced: true,
  };
}

/** A dry run of server-side apply: it goes as far as storing, and refuses what the CRDs do not know. */
function dryRun(object: KubeObject): Promise<{ readonly object: KubeObject }> {
  return hub.client.apply(resourceOf(object), object, { manager: "test", dryRun: true });
}

const accepted: readonly (readonly [what: string, template: string, parameters: JsonMap])[] = [
  ["with defaults", "docker", {}],
  [
    "with three control planes and no workers",
    "docker",
    { environment: "prod", controlPlanes: 3, workers: 0, imageRepository: "mirror.test:5000/k8s" },
  ],
  ["with defaults", "aws-eks", {}],
  [
    "with ARM spot nodes in another account",
    "aws-eks",
    {
      region: "us-gov-west-1",
      arm: true,
      spot: true,
      instanceType: "c7g.xlarge",
      awsRole: "team-a",
      publicFrom: ["192.0.2.0/24", "198.51.100.7/32"],
    },
  ],
];
for (const [what, template, parameters] of accepted)
  test(`templates/${template}.yaml ${what} is accepted by the providers' CRDs, whole`, async () => {
    const objects = await objectsOfTemplate(template, cluster, parameters);
    assert.ok(objects.some(({ kind }) => kind === "Cluster"));
    for (const object of objects) {
      assert.equal(object.metadata.namespace, namespace);
      const { object: kept } = await dryRun(object);
      assert.partialDeepStrictEqual(kept["spec"], object["spec"]);
    }
  });

type Change = (spec: Record<string, unknown>) => void;
const refused: readonly (readonly [string, string, string, Change, RegExp])[] = [
  ["a field that there is not", "docker", "DevMachineTemplate", (s) => (s["size"] = 1), /size/],
  [
    "a class without infrastructure",
    "docker",
    "ClusterClass",
    (s) => delete s["infrastructure"],
    /spec\.infrastructure/,
  ],
  [
    "a version that EKS has not",
    "aws-eks",
    "AWSManagedControlPlane",
    (s) => (s["version"] = "latest"),
    /spec\.version/,
  ],
  [
    "a capacity that EKS has not",
    "aws-eks",
    "AWSManagedMachinePool",
    (s) => (s["capacityType"] = "cheap"),
    /spec\.capacityType/,
  ],
  ["no template", "aws-eks", "MachinePool", (s) => delete s["template"], /spec\.template/],
];
for (const [what, template, kind, change, why] of refused)
  test(`${kind} of ${template}.yaml with ${what} is refused by its CRD`, async () => {
    const object = (await objectsOfTemplate(template, cluster)).find((o) => o.kind === kind);
    assert.ok(object);
    const spec = structuredClone(object["spec"]) as Record<string, unknown>;
    change(spec);
    await assert.rejects(dryRun({ ...object, spec }), why);
  });

for (const template of ["docker", "aws-eks"])
  test(`templates/${template}.yaml has nothing that lint finds, and brings what a Fleet needs`, async () => {
    assert.deepEqual(await lintTemplate(await shippedTemplate(template), sops, chance), []);
    const files = await filesOfTemplate(template, cluster);
    const home = `management/clusters/${cluster.name}`;
    const configuration = `config/clusters/${cluster.name}`;
    assert.deepEqual(
      [...files.keys()].sort(),
      [
        `${configuration}/secrets/admin.sops.yaml`,
        `${configuration}/values.yaml`,
        `${home}/cluster.yaml`,
        `${home}/identity.sops.yaml`,
      ].sort(),
    );
    const made = (await objectsOfTemplate(template, cluster)).find(
      ({ kind }) => kind === "Cluster",
    );
    assert.equal(made?.metadata.labels?.["env"], "dev");
    assert.match(files.get(`${configuration}/values.yaml`) ?? "", /^environment: dev$/m);
    const opens = async (path: string, { identity }: { readonly identity: string }) => {
      const identities = await parseIdentities(identity, "test");
      const options = { format: "yaml", identities } as const;
      return (await decryptFile(Buffer.from(files.get(path) ?? ""), options)).plaintext.toString();
    };
    const secret = `${configuration}/secrets/admin.sops.yaml`;
    for (const reader of [manager, own])
      assert.match(await opens(secret, reader), RegExp(password));
    assert.match(await opens(`${home}/identity.sops.yaml`, manager), /kind: Secret/);
    await assert.rejects(opens(`${home}/identity.sops.yaml`, own), { code: "SopsKeyMissing" });
    const stranger = generateIdentity(randomBytes);
    await assert.rejects(opens(secret, stranger), { code: "SopsKeyMissing" });
    for (const text of files.values()) assert.ok(!text.includes(password));
  });
