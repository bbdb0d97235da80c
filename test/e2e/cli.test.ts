// What every command prints, on a hub without a controller, so that nothing changes by itself.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accountToken } from "../../hack/lab/account-token.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { root } from "../../hack/lab/paths.ts";
import { kubeconfigOf } from "../../hack/lab/pki.ts";
import { asMap } from "../../pkg/json/index.ts";
import { hubContexts, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { cliOf, inTerminal, run } from "../harness/cli.ts";
import { namespace, newCluster, resources, sharedHub, sharedLab, until } from "../harness/index.ts";

let hub: KubeClient;
let kubeconfig: string;
let cli: ReturnType<typeof cliOf>;

before(async () => {
  const labHub = await sharedHub();
  const cluster = await newCluster(labHub, "cli-hub");
  hub = cluster.client;
  kubeconfig = join((await sharedLab()).dir, "cli-hub.kubeconfig");
  await writeFile(kubeconfig, await clusterKubeconfig(labHub, cluster.name), { mode: 0o600 });
  cli = cliOf(kubeconfig);
  await labHub.close();
});
after(() => hub.close());

/** Ages, versions and certificates' ends differ from run to run; columns are told apart by two spaces. */
const stable = (text: string) =>
  text
    .replaceAll(/\b\d+[smhd]\b/g, "AGE")
    .replaceAll(/v1\.\d+\.\d+/g, "v1.x")
    .replaceAll(/ {2,}/g, "  ");

const apply = (resource: Resource, object: object) =>
  hub.apply(resource, object as KubeObject, { manager: "test" });

test("before capitan install, check and get say so in one line", async () => {
  const listed = await cli(["get", "fleets"]);
  assert.equal(listed.code, 1);
  assert.equal(
    listed.stderr,
    `✗ NotFound: the hub does not serve fleets.capitan.dev: run capitan install first
  → List what there is with: capitan get fleets, capitan get members. On a new hub, first: capitan install.
`,
  );
  const rotated = await cli(["rotate", "status"]);
  const says = "the hub does not serve keyrotations.capitan.dev: run capitan install first";
  assert.equal(rotated.stderr.split("\n")[0], `✗ NotFound: ${says}`);
  const checked = await cli(["check"]);
  assert.equal(checked.code, 1);
  assert.equal(
    stable(checked.stdout),
    `✔ hub: Kubernetes v1.x
✗ Capitan: missing or not established: fleets.capitan.dev, fleetrevisions.capitan.dev, fleetmembers.capitan.dev, keyrotations.capitan.dev, secretrotations.capitan.dev, clustertemplates.capitan.dev, receivers.capitan.dev
  → Run capitan install.
✗ Cluster API: the hub does not serve cluster.x-k8s.io/v1beta2
  → Upgrade Cluster API on the management cluster to 1.11 or later.
`,
  );
});

const clusterCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: "clusters.cluster.x-k8s.io",
    annotations: {
      "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/cluster-api",
    },
  },
  spec: {
    group: "cluster.x-k8s.io",
    scope: "Namespaced",
    names: { plural: "clusters", kind: "Cluster", singular: "cluster", listKind: "ClusterList" },
    versions: [
      {
        name: "v1beta2",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        },
      },
    ],
  },
};

const lease: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};

function leads(secondsAgo: number): Promise<unknown> {
  const renewTime = new Date(Date.now() - secondsAgo * 1000).toISOString().replace("Z", "000Z");
  return apply(lease, {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { namespace: "capitan-system", name: "capitan-controller" },
    spec: { holderIdentity: "pod-1", renewTime, leaseDurationSeconds: 15 },
  });
}

test("check: no leader, a leader that has stopped, and all well", async () => {
  assert.equal((await cli(["install"])).code, 0);
  await apply(resources.crd, clusterCrd);
  await until(() => hub.list(resources.cluster), { deadlineMs: 30_000, what: "Clusters" });
  const basics = `✔ hub: Kubernetes v1.x
✔ Capitan: 7 CRDs are established
✔ Cluster API: cluster.x-k8s.io/v1beta2
`;
  const remedy = "Look at the controller's pods: kubectl -n capitan-system get pods.";
  const nobody = await cli(["check"]);
  const leaderless = "controller: nobody leads: no controller is running";
  assert.equal(stable(nobody.stdout), `${basics}✗ ${leaderless}\n  → ${remedy}\n`);
  assert.equal(nobody.code, 1);
  await leads(3600);
  const stale = await cli(["check", "-o", "json"]);
  assert.equal(stale.code, 1);
  const found = (JSON.parse(stale.stdout) as { about: string; ok: boolean; message: string }[]).at(
    -1,
  );
  assert.match(found?.message ?? "", /^pod-1 has not renewed its Lease for 36\d\d s$/);
  assert.deepEqual(found, { about: "controller", ok: false, message: found?.message, remedy });
  await leads(-3600);
  const well = await cli(["check"]);
  const lines = `${basics}✔ controller: pod-1 leads\n`;
  assert.equal(stable(well.stdout), lines);
  assert.deepEqual([well.code, well.stderr], [0, ""]);
  const empty = await cli(["check", "-n", "nowhere"]);
  const none = "clusters: there are none in namespace nowhere";
  assert.deepEqual([empty.code, stable(empty.stdout)], [0, `${lines}✔ ${none}\n`]);
  // Whoever names labels means some: a slip of the pen must not look like all well.
  const wrong = await cli(["check", "-l", "env=prdo"]);
  const says = "✗ clusters: no Cluster has the labels env=prdo\n  → See capitan get clusters.\n";
  assert.deepEqual([wrong.code, stable(wrong.stdout)], [1, `${lines}${says}`]);
});

test("nothing there: an empty table says so on stderr, json and yaml are empty lists", async () => {
  for (const [kind, plural] of [
    ["fleets", "fleets"],
    ["members", "fleetmembers"],
    ["clusters", "clusters"],
    ["revisions", "fleetrevisions"],
  ] as const) {
    const { code, stdout, stderr } = await cli(["get", kind, "-n", "nowhere"]);
    assert.deepEqual([code, stdout, stderr], [0, "", `no ${plural} in namespace nowhere\n`]);
  }
  assert.equal((await cli(["get", "members", "-o", "json"])).stdout, "[]\n");
  assert.equal((await cli(["get", "clusters", "-o", "yaml"])).stdout, "[]\n");
});

/** What could take over a terminal: a colour, a title, a C1 sequence, a turned direction, a line start. */
const hostile = "\u001b[31mred\u001b[0m\u001b]0;title\u0007\u009b2J\u202egnp.exe\rover";
/** What is left of it: text, on one line. */
const seen = "red0;title2Jgnp.exeover";
const digest = `sha256:${"ab".repeat(32)}`;
const approval = "0123456789abcdef";
const asked = `would delete Namespace/shop with everything inside (1 of 5 objects); to allow it: capitan.dev/approve-removal=${approval}`;

const ready = (status: string, reason: string, message: string) => ({
  observedGeneration: 1,
  conditions: [
    {
      type: "Ready",
      status,
      reason,
      message,
      lastTransitionTime: "2026-01-01T00:00:00Z",
      observedGeneration: 1,
    },
  ],
});

const capitanObject = (kind: string, name: string, spec: object, labels = {}) => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind,
  metadata: { namespace, name, labels },
  spec,
});

async function withStatus(resource: Resource, object: object, status: object): Promise<void> {
  await apply(resource, object);
  const { metadata } = object as KubeObject;
  await hub.mergePatch(resource, metadata, { status }, { subresource: "status" });
}

const memberSpec = (cluster: string) => ({
  fleetRef: { namespace, name: "cli-platform" },
  clusterRef: { name: cluster },
  revision: "cli-platform-11111111",
});

function cluster(name: string, more: object = {}, annotations = {}) {
  return apply(resources.cluster, {
    apiVersion: "cluster.x-k8s.io/v1beta2",
    kind: "Cluster",
    metadata: { namespace, name, labels: { env: "prod" }, annotations },
    spec: { topology: { version: "v1.34.1" } },
    status: { initialization: { controlPlaneInitialized: true } },
    ...more,
  });
}

async function eventAbout(name: string, kind: string, about: string, note: string, time: string) {
  await apply(resources.event, {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { namespace, name },
    eventTime: time,
    type: "Warning",
    reason: "HealthFailed",
    action: "Reconcile",
    note,
    reportingController: "capitan",
    reportingInstance: "test",
    regarding: { apiVersion: "capitan.dev/v1alpha1", kind, namespace, name: about },
  });
}

test("get fleets, members, clusters, revisions: the tables", async () => {
  await apply(resources.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  const layers = [{ name: "config", inline: [{ apiVersion: "v1", kind: "ConfigMap" }] }];
  const spec = { clusterSelector: { matchLabels: { env: "prod" } }, layers };
  await withStatus(
    resources.fleet,
    capitanObject("Fleet", "cli-platform", spec, { team: "shop" }),
    {
      ...ready("False", "HealthFailed", `1 of 3 clusters ready; cli-b: ${hostile}`),
      summary: "1/3",
      updateRevision: "cli-platform-11111111",
      clusters: { matched: 3, ready: 1, updating: 1, failed: 1 },
      worst: [{ cluster: "cli-b", reason: "HealthFailed", message: hostile }],
    },
  );
  await apply(resources.fleet, capitanObject("Fleet", "cli-new", spec));
  await apply(
    resources.fleetRevision,
    capitanObject("FleetRevision", "cli-platform-11111111", {
      fleetRef: { name: "cli-platform" },
      layers: [
        {
          name: "config",
          wait: true,
          timeout: "5m",
          deletionPolicy: "Delete",
          dependsOn: [],
          oci: { url: "oci://r.example/c", digest, revision: `stable@${digest}`, insecure: false },
        },
      ],
    }),
  );
  await withStatus(
    resources.fleetMember,
    capitanObject("FleetMember", "cli-platform-cli-a-aaaaaaaa", memberSpec("cli-a")),
    {
      ...ready("True", "ReconciliationSucceeded", "5 objects are as declared"),
      currentRevision: "cli-platform-11111111",
      objects: 5,
    },
  );
  await withStatus(
    resources.fleetMember,
    capitanObject("FleetMember", "cli-platform-cli-b-bbbbbbbb", memberSpec("cli-b")),
    {
      ...ready("False", "HealthFailed", `Deployment/shop/web: ${hostile}`),
      layers: [
        {
          name: "config",
          state: "Failed",
          objects: 5,
          revision: `stable@${digest}`,
          reason: "HealthFailed",
          message: hostile,
        },
      ],
    },
  );
  await withStatus(
    resources.fleetMember,
    capitanObject("FleetMember", "cli-platform-cli-c-cccccccc", memberSpec("cli-c")),
    ready("False", "RemovalNeedsApproval", asked),
  );
  await cluster("cli-a");
  await cluster("cli-b");
  await cluster(
    "cli-c",
    {},
    {
      "capitan.dev/suspended-until": "2099-01-01T00:00:00Z",
    },
  );
  await cluster("cli-d", { spec: { paused: true } });
  await cluster("cli-e", { status: {} });
  await cluster("cli-f");
  const text = async (...args: string[]) => stable((await cli(args)).stdout);
  assert.equal(
    await text("get", "fleets"),
    `NAMESPACE  NAME  READY  REVISION  AGE  STATUS
fleet  cli-new  -  -  AGE  has not been looked at yet
fleet  cli-platform  1/3  cli-platform-11111111  AGE  1 of 3 clusters ready; cli-b: ${seen}
`,
  );
  assert.equal(
    await text("get", "fleets", "-n", namespace, "-l", "team=shop"),
    `NAMESPACE  NAME  READY  REVISION  AGE  STATUS
fleet  cli-platform  1/3  cli-platform-11111111  AGE  1 of 3 clusters ready; cli-b: ${seen}
`,
  );
  assert.equal(
    await text("get", "members"),
    `NAMESPACE  CLUSTER  FLEET  REVISION  READY  AGE  STATUS
fleet  cli-a  cli-platform  cli-platform-11111111  True  AGE  5 objects are as declared
fleet  cli-b  cli-platform  cli-platform-11111111  False  AGE  HealthFailed: Deployment/shop/web: ${seen}
fleet  cli-c  cli-platform  cli-platform-11111111  False  AGE  RemovalNeedsApproval: ${asked}
`,
  );
  assert.equal(
    await text("get", "clusters"),
    `NAMESPACE  CLUSTER  VERSION  FLEETS  READY  AGE  STATUS
fleet  cli-a  v1.x  cli-platform  1/1  AGE
fleet  cli-b  v1.x  cli-platform  0/1  AGE  cli-platform: HealthFailed: Deployment/shop/web: ${seen}
fleet  cli-c  v1.x  cli-platform  0/1  AGE  is suspended until 2099-01-01T00:00:00Z
fleet  cli-d  -  -  0/0  AGE  is paused
fleet  cli-e  v1.x  -  0/0  AGE  its control plane is not initialized yet
fleet  cli-f  v1.x  -  0/0  AGE  no Fleet selects it
`,
  );
  assert.equal(
    await text("get", "revisions"),
    `NAMESPACE  NAME  FLEET  PINNED  APPLIED  AGE  SOURCES
fleet  cli-platform-11111111  cli-platform  3  1  AGE  config stable@sha256:abababab
`,
  );
});

test("-o json and -o yaml give whole objects without managedFields; wide cuts nothing", async () => {
  const { parse } = await import("yaml");
  const json = JSON.parse((await cli(["get", "members", "-o", "json"])).stdout) as KubeObject[];
  assert.deepEqual(
    json.map(({ metadata }) => [metadata.name, metadata.managedFields]),
    ["a", "b", "c"].map((x) => [`cli-platform-cli-${x}-${x.repeat(8)}`, undefined]),
  );
  const yaml = parse((await cli(["get", "members", "-o", "yaml"])).stdout) as KubeObject[];
  assert.deepEqual(yaml[2], json[2]);
  const wide = await inTerminal("capitan get members -o wide", 60, {
    env: { KUBECONFIG: kubeconfig },
  });
  assert.ok(wide.stdout.includes(asked), wide.stdout);
});

type Described = {
  readonly object: KubeObject;
  readonly cause: { readonly reason: string; readonly remedy: string };
  readonly events: readonly unknown[];
};

test("describe: one cause, what to do, the layers", async () => {
  const { stdout } = await cli(["describe", "member", "cli-b"]);
  assert.equal(
    stable(stdout),
    `Member  fleet/cli-platform-cli-b-bbbbbbbb
Cluster  cli-b
Fleet  fleet/cli-platform
Revision  cli-platform-11111111 (applied: none)
Ready  False (HealthFailed)
Cause  HealthFailed: Deployment/shop/web: ${seen}
What to do  Look at the object that the message names on the workload cluster.

Layers
NAME  STATE  OBJECTS  SOURCE  MESSAGE
config  Failed  5  stable@sha256:ababababababababababababab  HealthFailed: ${seen}
`,
  );
  const script = await cli(["describe", "member", "cli-b", "-o", "json"]);
  const { object, cause, events } = JSON.parse(script.stdout) as Described;
  assert.equal(object.metadata.name, "cli-platform-cli-b-bbbbbbbb");
  const remedy = "Look at the object that the message names on the workload cluster.";
  assert.deepEqual([cause.reason, cause.remedy], ["HealthFailed", remedy]);
  assert.deepEqual(events, []);
  const fleet = await cli(["describe", "fleet", "cli-platform"]);
  assert.equal(
    stable(fleet.stdout),
    `Fleet  fleet/cli-platform
Layers  config
Revision  cli-platform-11111111
Ready  False (HealthFailed)
Cause  HealthFailed: 1 of 3 clusters ready; cli-b: ${seen}
What to do  Look at the object that the message names on the workload cluster.
Clusters  3 matched, 1 ready, 1 updating, 1 failed

Not ready
CLUSTER  REASON  MESSAGE
cli-b  HealthFailed  ${seen}
`,
  );
});

test("events: oldest first, --for a Fleet, a member or a cluster", async () => {
  const old = "2026-01-01T00:00:00.000000Z";
  await eventAbout("cli-e2", "Fleet", "cli-platform", "second", "2026-01-02T00:00:00.000000Z");
  await eventAbout("cli-e1", "FleetMember", "cli-platform-cli-b-bbbbbbbb", hostile, old);
  const { stdout } = await cli(["events"]);
  assert.equal(
    stable(stdout),
    `AGE  NAMESPACE  ABOUT  TYPE  REASON  NOTE
AGE  fleet  FleetMember/cli-platform-cli-b-bbbbbbbb  Warning  HealthFailed  ${seen}
AGE  fleet  Fleet/cli-platform  Warning  HealthFailed  second
`,
  );
  const lines = async (...args: string[]) =>
    (await cli(["events", ...args])).stdout.split("\n").length - 2;
  assert.equal(await lines("--for", "cli-platform"), 2);
  assert.equal(await lines("--for", "cli-b"), 1);
  assert.equal(await lines("--for", "cli-platform-cli-b-bbbbbbbb"), 1);
  const none = await cli(["events", "--for", "cli"]);
  assert.deepEqual([none.code, none.stdout, none.stderr], [0, "", "no events\n"]);
});

// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

test("W8 no command lets foreign text reach the terminal as anything but text", async () => {
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "cli-f" },
    {
      metadata: { annotations: { note: hostile } },
      spec: { topology: { version: hostile } },
    },
  );
  const commands = [
    ["get", "fleets", "-o", "wide"],
    ["get", "members"],
    ["get", "members", "-o", "json"],
    ["get", "members", "-o", "yaml"],
    ["get", "clusters"],
    ["events"],
    ["events", "-o", "yaml"],
    ["describe", "member", "cli-b"],
    ["check"],
    ["reconcile", "member", "cli-b", "--timeout", "1s"],
    ["get", "fleets", "-l", hostile],
    ["describe", "fleet", hostile],
  ];
  const check = async (args: readonly string[]) => {
    const { stdout, stderr } = await cli(args);
    assert.notEqual(stdout + stderr, "", args.join(" "));
    assert.doesNotMatch(stdout, obeyed, args.join(" "));
    assert.doesNotMatch(stderr, obeyed, args.join(" "));
  };
  for (let i = 0; i < commands.length; i += 2)
    await Promise.all(commands.slice(i, i + 2).map(check));
});

test("on a terminal: tables as wide as it is, colours, progress on stderr; elsewhere none of them", async () => {
  const env = { KUBECONFIG: kubeconfig };
  // At 80 columns too little would be left of the reason: it is wrapped, not cut.
  const narrow = await inTerminal("capitan get members", 80, { env });
  assert.ok(narrow.stdout.includes(asked), narrow.stdout);
  const broad = (await inTerminal("capitan get members", 200, { env })).stdout.trimEnd();
  assert.deepEqual(
    broad.split("\n").map((line) => [line.length <= 200, line.endsWith("…")]),
    [false, false, false, true].map((isCut) => [true, isCut]),
  );
  const describe = "capitan describe member cli-b";
  const red = "\u001b[31mFalse (HealthFailed)\u001b[39m";
  assert.ok((await inTerminal(describe, 80, { env })).stdout.includes(red));
  const plain = await inTerminal(describe, 80, { env: { ...env, NO_COLOR: "1" } });
  assert.ok(!plain.stdout.includes("\u001b"), "NO_COLOR");
  const wait = "capitan reconcile fleet cli-platform --timeout 1s";
  const shown = await inTerminal(`${wait} >/dev/null`, 80, { env });
  assert.ok(
    shown.stdout.includes("\r\u001b[K… the controller has not looked at it yet"),
    shown.stdout,
  );
  const piped = await inTerminal(`${wait} 2>&1 | cat`, 80, { env });
  assert.ok(!piped.stdout.includes("\u001b"), piped.stdout);
});

test("a reader who stops early is no failure", async () => {
  const line = "capitan get members -o yaml | head -1; echo ${PIPESTATUS[0]}";
  const { stdout } = await inTerminal(line, 80, { env: { KUBECONFIG: kubeconfig } });
  assert.match(stdout, /^- apiVersion: capitan.dev\/v1alpha1\n0\n$/);
  // More than a pipe holds.
  const noise = { metadata: { annotations: { noise: "x".repeat(200_000) } } };
  await hub.mergePatch(resources.fleet, { namespace, name: "cli-new" }, noise);
  const much = "capitan get fleets -o json | head -1; echo ${PIPESTATUS[0]}";
  const { stdout: cut } = await inTerminal(much, 80, { env: { KUBECONFIG: kubeconfig } });
  assert.equal(cut, "[\n0\n");
  const full = "capitan get fleets >/dev/full; echo $?";
  const { stdout: failed } = await inTerminal(full, 80, { env: { KUBECONFIG: kubeconfig } });
  assert.match(failed, /^✗ cannot write the output: ENOSPC: .*\n1\n$/);
});

test("names that are not there: which, and where was looked; an empty list is no failure", async () => {
  const repo = "--repo https://git.example/fleet";
  const cases: readonly (readonly [line: string, says: string, code?: number])[] = [
    ["describe fleet nope", "NotFound: there is no Fleet named nope"],
    [
      "describe fleet cli-platform -n nowhere",
      "NotFound: there is no Fleet named cli-platform in namespace nowhere",
    ],
    [
      "describe member cli-a --fleet nope",
      "NotFound: there is no FleetMember or cluster named cli-a with Fleet nope",
    ],
    [
      `rotate keys -l env=nope ${repo}`,
      "NotFound: no Cluster in namespace fleet has the labels env=nope",
    ],
    [
      `rotate keys --fleet nope -l env=nope ${repo}`,
      "NotFound: no Cluster in namespace fleet is in Fleet nope or has the labels env=nope",
    ],
    ["rotate status", "NotFound: there is no rotation in namespace fleet"],
    [
      "diff fleet cli-platform -f /nonexistent",
      "FileInvalid: cannot read /nonexistent: ENOENT: no such file or directory, open '/nonexistent'",
      2,
    ],
  ];
  for (const [line, says, exit = 1] of cases) {
    const { code, stdout, stderr } = await cli(line.split(" "));
    assert.deepEqual([code, stdout, stderr.split("\n")[0]], [exit, "", `✗ ${says}`], line);
  }
  for (const [line, says] of [
    ["template list", "no templates\n"],
    ["get recipients", "no recipients\n"],
  ] as const)
    assert.deepEqual(await cli(line.split(" ")), { code: 0, stdout: "", stderr: says });
});

const getWhat = "capitan get fleets|members|clusters|revisions|receivers|recipients";

test("wrong usage does nothing, exits 2 and says in one line what is wrong", async () => {
  const cases: readonly (readonly [line: string, says: string])[] = [
    ["", "say what to do, for instance: capitan get fleets"],
    ["get", `say which: ${getWhat}`],
    ["get nonsense", `there is no get nonsense; say which: ${getWhat}`],
    ["nonsense fleets", "there is no command nonsense"],
    ["get fleets nonsense", "Unknown argument: nonsense"],
    [
      "get fleets -o xml",
      'Invalid values: Argument: output, Given: "xml", Choices: "table", "wide", "json", "yaml"',
    ],
    ["approve fleet", "an argument is missing: got 0, need 1"],
    ["trace ConfigMap/a", "Missing required argument: cluster"],
    ["trace web --cluster cli-a", "web is not KIND/NAME or KIND/NAMESPACE/NAME"],
    // Without a value these would mean everything, or the default.
    ["get fleets -l", "option l needs a value"],
    ["get fleets --namespace", "option namespace needs a value"],
    ["get fleets -n -o json", "option n needs a value"],
    ["reconcile fleet cli-new --timeout", "option timeout needs a value"],
    ["install --replicas", "option replicas needs a value"],
    ["rotate keys --cluster", "option cluster needs a value"],
    ["reconcile fleet cli-new --timeout soon", "--timeout soon is no duration such as 30s or 5m"],
    ["suspend member cli-a --for 1y", "--for 1y is no duration up to 168h"],
    ["suspend fleet cli-new --dry-run", "Unknown arguments: dry-run, dryRun"],
  ];
  const bare = cases.map(([line, says]) => [line === "" ? [] : line.split(" "), says] as const);
  const empty = [
    [["rotate", "keys", "-l", ""], "selector is empty: give it a value"],
    [["rotate", "keys", "--cluster", " "], "cluster is empty: give it a value"],
    [["get", "fleets", "-n", ""], "namespace is empty: give it a value"],
    [["describe", "fleet", ""], "name is empty: give it a value"],
  ] as const;
  for (const [args, says] of [...bare, ...empty]) {
    const { code, stdout, stderr } = await cli(args, { env: { LANG: "de_DE.UTF-8" } });
    assert.deepEqual([code, stdout, stderr], [2, "", `✗ ${says}; see --help\n`], args.join(" "));
  }
  const fleet = await hub.get(resources.fleet, { namespace, name: "cli-new" });
  assert.equal(asMap(fleet?.["spec"])["suspend"], false, "it was not suspended");
});

test("help and version by the words that people try first", async () => {
  const help = (await cli(["get", "fleets", "--help"])).stdout;
  assert.match(help, /^capitan get fleets\n/);
  for (const args of [
    ["get", "fleets", "-h"],
    ["help", "get", "fleets"],
  ])
    assert.deepEqual(await cli(args), { code: 0, stdout: help, stderr: "" });
  assert.equal((await cli(["help"])).stdout, (await cli(["-h"])).stdout);
  const version = (await cli(["version"])).stdout;
  assert.deepEqual(await cli(["--version"]), { code: 0, stdout: version, stderr: "" });
});

test("a selector that the hub cannot read is wrong usage, and none is taken for an empty one", async () => {
  for (const args of [
    ["get", "fleets", "-l", "env in (prod"],
    ["check", "-l", "env in (prod"],
  ]) {
    const { code, stdout, stderr } = await cli(args);
    assert.deepEqual([code, stdout], [2, ""]);
    const says = "✗ --selector env in (prod: HTTP 400 BadRequest: unable to parse requirement: ";
    assert.ok(stderr.startsWith(says), stderr);
  }
});

/** A kubeconfig of the hub for somebody else. */
async function kubeconfigWith(token: string): Promise<string> {
  const { parse } = await import("yaml");
  const { readFile } = await import("node:fs/promises");
  type Clusters = {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  };
  const { clusters } = parse(await readFile(kubeconfig, "utf8")) as Clusters;
  const { server = "", "certificate-authority-data": ca = "" } = clusters[0]?.cluster ?? {};
  const file = `${kubeconfig}.other`;
  await writeFile(file, kubeconfigOf(server, Buffer.from(ca, "base64").toString(), { token }));
  return file;
}

test("a hub that refuses who asks: what is missing, and what the person can do, not a layer's author", async () => {
  const stranger = await kubeconfigWith("nonsense");
  const unknown = await cli(["get", "fleets", "--kubeconfig", stranger]);
  assert.equal(unknown.code, 1);
  assert.match(
    unknown.stderr,
    /^✗ CredentialsRejected: the hub https:\S+ does not accept your credentials: HTTP 401 Unauthorized: Unauthorized\n {2}→ Log in to the hub anew, or set KUBECONFIG to a kubeconfig of the hub that it accepts.\n$/,
  );
  const account = { namespace, name: "cli-nobody" };
  await apply(resources.serviceAccount, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: account,
  });
  const nobody = await kubeconfigWith(await accountToken(hub, account, 600));
  const remedy =
    "Have somebody grant you the right that the message names; if you have it in one namespace only, name that with -n.";
  const who = 'User "system:serviceaccount:fleet:cli-nobody" cannot';
  for (const [args, path, right] of [
    [["get", "fleets"], "apis/capitan.dev/v1alpha1/fleets", `${who} list resource "fleets"`],
    [["events", "-n", namespace], "apis/events.k8s.io/v1/namespaces/fleet/events", `${who} list`],
    [["get", "recipients"], "api/v1/namespaces/fleet/secrets/manager-key", "message withheld"],
  ] as const) {
    const { code, stdout, stderr } = await cli([...args, "--kubeconfig", nobody]);
    assert.deepEqual([code, stdout], [1, ""]);
    const [first = "", last] = stderr.split("\n");
    assert.ok(first.startsWith(`✗ AccessDenied: GET /${path}: HTTP 403 Forbidden: `), first);
    assert.ok(first.includes(right), first);
    assert.equal(last, `  → ${remedy}`);
  }
  const checked = await cli(["check", "--kubeconfig", nobody, "-o", "json"]);
  const found = JSON.parse(checked.stdout) as { about: string; code?: string; remedy?: string }[];
  assert.deepEqual(
    found.map(({ about, code, remedy: what }) => [about, code, what]),
    [
      ["hub", undefined, undefined],
      ["Capitan", "AccessDenied", remedy],
    ],
  );
  assert.equal(checked.code, 1);
});

test("a hub that does not answer and a kubeconfig that is not there: one line, and what to do", async () => {
  const missing = await cli(["get", "fleets"], { env: { KUBECONFIG: "/nonexistent" } });
  assert.equal(missing.code, 1);
  assert.equal(
    missing.stderr,
    `✗ HubConfigInvalid: cannot read the kubeconfig /nonexistent: ENOENT: no such file or directory, open '/nonexistent'
  → Set KUBECONFIG to the kubeconfig of the management cluster; for the CLI also --kubeconfig and --context.
`,
  );
  const { readFile } = await import("node:fs/promises");
  const text = await readFile(kubeconfig, "utf8");
  const nobody = `${kubeconfig}.nobody`;
  await writeFile(nobody, text.replace(/https:\/\/127\.0\.0\.1:\d+/, "https://127.0.0.1:1"));
  const away = await cli(["get", "fleets", "--kubeconfig", nobody]);
  const remedy = "Check that the hub is up, and that KUBECONFIG is the hub's kubeconfig.";
  const refused = "connect ECONNREFUSED 127.0.0.1:1";
  assert.equal(away.code, 1);
  assert.equal(
    away.stderr,
    `✗ Unreachable: the hub https://127.0.0.1:1 does not answer: ${refused}\n  → ${remedy}\n`,
  );
  // Somebody else answers, or the hub to who does not speak TLS.
  await writeFile(nobody, text.replace("https://127.0.0.1", "http://127.0.0.1"));
  const plain = await cli(["get", "fleets", "--kubeconfig", nobody]);
  const reply = "✗ Unreachable: GET /apis/capitan.dev/v1alpha1/fleets: HTTP 400";
  assert.deepEqual([plain.code, plain.stderr], [1, `${reply}\n  → ${remedy}\n`]);
  await writeFile(nobody, text.replace(/https:\/\/127\.0\.0\.1:\d+/, "https://127.0.0.1:1"));
  const checked = await cli(["check", "--kubeconfig", nobody]);
  const line = `✗ hub: Unreachable: GET /version: ${refused}\n  → ${remedy}\n`;
  assert.deepEqual([checked.code, checked.stdout], [1, line]);
});

const approvalOn = async () => {
  const name = { namespace, name: "cli-platform-cli-c-cccccccc" };
  const member = await hub.get(resources.fleetMember, name);
  return member?.metadata.annotations?.["capitan.dev/approve-removal"];
};

test("approve: refused with another digest, with nobody to ask, by a No, and where nothing is asked", async () => {
  const approve = ["approve", "member", "cli-c"];
  const head = `FleetMember fleet/cli-platform-cli-c-cccccccc ${asked}\n`;
  const remedy =
    "  → If that is wanted: capitan approve member CLUSTER, or capitan approve fleet NAME when the condition is on the Fleet. Or annotate it with the approval that the message prints.\n";
  const nobody = await cli(approve, { input: "y\n" });
  assert.deepEqual(
    [nobody.code, nobody.stderr],
    [
      1,
      `${head}  → nobody to ask here: say --yes or --digest\n✗ RemovalNeedsApproval: not approved: nothing was changed\n${remedy}`,
    ],
  );
  const other = await cli([...approve, "--yes", "--digest", "ffffffffffffffff"]);
  assert.equal(other.code, 1);
  assert.match(
    other.stderr,
    /asks for the approval 0123456789abcdef, not f{16}: the set has changed/,
  );
  const env = { KUBECONFIG: kubeconfig };
  const no = await inTerminal("capitan approve member cli-c; echo $?", 200, { env, input: "n\n" });
  assert.match(no.stdout, /Allow exactly this\? \[y\/N\].*not approved.*\n1\n$/s);
  const nothing = await cli(["approve", "member", "cli-a", "--yes"]);
  assert.equal(nothing.code, 1);
  assert.match(nothing.stderr, /NotFound: FleetMember \S+ asks for no approval/);
  assert.equal(await approvalOn(), undefined);
});

test("approve: by the digest that was read, and by a person's Yes", async () => {
  const done = await cli(["approve", "member", "cli-c", "--digest", approval]);
  const name = "FleetMember fleet/cli-platform-cli-c-cccccccc";
  assert.deepEqual([done.code, done.stdout], [0, `${name} approved: ${approval}\n`]);
  assert.equal(await approvalOn(), approval);
  const forget = { metadata: { annotations: { "capitan.dev/approve-removal": null } } };
  const member = { namespace, name: "cli-platform-cli-c-cccccccc" };
  await hub.mergePatch(resources.fleetMember, member, forget);
  const env = { KUBECONFIG: kubeconfig };
  const yes = await inTerminal("capitan approve member cli-c", 200, { env, input: "y\n" });
  assert.match(yes.stdout, /Allow exactly this\? \[y\/N\].*approved: 0123456789abcdef\n$/s);
  assert.equal(await approvalOn(), approval);
});

test("Ctrl-C ends the waiting, not what was asked for: exit 130, and the line of progress goes", async () => {
  const env = { KUBECONFIG: kubeconfig };
  const line = "capitan reconcile fleet cli-platform; echo $?";
  const { stdout } = await inTerminal(line, 80, { env, interruptAt: "…" });
  const says =
    "no longer waiting for Fleet fleet/cli-platform to be Ready; what was asked for goes on";
  assert.ok(stdout.endsWith(`\r\u001b[K✗ ${says}\n130\n`), JSON.stringify(stdout));
});

test("reconcile: says what it waits for when the time is over; --no-wait only asks", async () => {
  const late = await cli(["reconcile", "fleet", "cli-platform", "--timeout", "1s"]);
  assert.equal(late.code, 1);
  const says =
    "waited 1s for Fleet fleet/cli-platform to be Ready: the controller has not looked at it yet";
  assert.equal(late.stderr.split("\n")[0], `✗ HealthTimeout: ${says}`);
  const asks = await cli(["reconcile", "member", "cli-a", "--no-wait"]);
  const name = "FleetMember fleet/cli-platform-cli-a-aaaaaaaa";
  assert.deepEqual([asks.code, asks.stdout], [0, `${name} is to be looked at again\n`]);
});

/** KUBECONFIG of two files, where the current context is of a hub that is not there; and the other context. */
async function withAnotherHub(): Promise<readonly [{ readonly KUBECONFIG: string }, string]> {
  const away = `${kubeconfig}.away`;
  const context = { name: "away", context: { cluster: "away", user: "away" } };
  const clusters = [{ name: "away", cluster: { server: "https://127.0.0.1:1" } }];
  const config = { "current-context": "away", contexts: [context], clusters };
  await writeFile(away, JSON.stringify({ ...config, users: [{ name: "away", user: {} }] }));
  const [there = ""] = await hubContexts({}, { kubeconfig });
  return [{ KUBECONFIG: `${away}:${kubeconfig}` }, there];
}

test("--context asks another hub than the current one; of a name that is not there it says which are", async () => {
  const [env, there] = await withAnotherHub();
  assert.match(
    (await cli(["get", "fleets"], { env })).stderr,
    /the hub https:\/\/127\.0\.0\.1:1 does/,
  );
  const asked = await cli(["get", "fleets", "--context", there], { env });
  assert.deepEqual(
    [asked.code, stable(asked.stdout)],
    [0, stable((await cli(["get", "fleets"])).stdout)],
  );
  const wrong = await cli(["get", "fleets", "--context", "prod"], { env });
  const files = env.KUBECONFIG.replace(":", ", ");
  const says = `${files}: no context is named prod; there are: away, ${there}`;
  assert.deepEqual([wrong.code, wrong.stderr.split("\n")[0]], [1, `✗ HubConfigInvalid: ${says}`]);
});

test("completion: bash gives nouns and options after a Tab; every script parses where its shell is", async () => {
  const bin = `capitan() { ${process.execPath} ${join(root, "cmd", "capitan", "main.ts")} "$@"; }`;
  const tab = async (line: string, env: Readonly<Record<string, string>> = {}) => {
    const words = line.split(" ");
    const type = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}`;
    const script = `${bin}; source <(capitan completion bash); ${type}; _capitan; printf '%s\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await run("bash", ["-c", script], { env });
    assert.equal(stderr, "");
    return stdout.trimEnd().split("\n");
  };
  const nouns = ["fleets", "members", "clusters", "revisions", "receivers", "recipients"];
  assert.deepEqual(await tab("capitan get "), nouns);
  assert.deepEqual(
    await tab("capitan get ", { SHELL: "/bin/zsh" }),
    nouns,
    "zsh is the login shell",
  );
  assert.deepEqual(await tab("capitan get me"), ["members"]);
  assert.ok((await tab("capitan ")).includes("describe"));
  assert.ok((await tab("capitan get fleets --out")).includes("--output"));
  const env = { KUBECONFIG: kubeconfig };
  assert.ok((await tab("capitan describe fleet ", env)).includes("cli-platform"));
  assert.deepEqual(await tab("capitan describe member cli-a", env), ["cli-a"]);
  assert.deepEqual(await tab("capitan describe member cli-a --fleet cli-plat", env), [
    "cli-platform",
  ]);
  const [two, there] = await withAnotherHub();
  assert.deepEqual(await tab("capitan get fleets --context ", two), ["away", there].toSorted());
  const inOther = `capitan describe fleet --context ${there} cli-plat`;
  assert.deepEqual(await tab(inOther, two), ["cli-platform"]);
  assert.ok((await tab("capitan create cluster ", env)).every((word) => word !== "cli-a"));
  // Where they are: the first Tab in zsh runs the file itself, and files complete where no word does.
  const inZsh = `${bin}; _describe() { print -l $found }; _files() { print FILES }
    fpath=($1 $fpath); autoload -Uz _capitan
    words=(capitan get me) CURRENT=3; _capitan; words=(capitan secrets decrypt a) CURRENT=4; _capitan`;
  const dir = await mkdtemp(join(tmpdir(), "capitan-zsh-"));
  await writeFile(join(dir, "_capitan"), (await cli(["completion", "zsh"])).stdout);
  const zsh = await run("zsh", ["-fc", inZsh, "zsh", dir]).catch(() => undefined);
  const shown = zsh?.stdout ?? "fleets:\nFILES\n";
  assert.match(shown, /^fleets:.*\nFILES\n$/s, zsh?.stderr);
  for (const shell of ["bash", "zsh", "fish", "kubectl"]) {
    const file = join(dir, shell);
    await writeFile(file, (await cli(["completion", shell])).stdout);
    const program = shell === "kubectl" ? "sh" : shell;
    const parsed = await run(program, ["-n", file]).catch(() => undefined);
    assert.equal(parsed?.code ?? 0, 0, `${shell}: ${parsed?.stderr ?? ""}`);
  }
  await rm(dir, { recursive: true });
});
