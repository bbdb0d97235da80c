import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { Receiver, ReceiverSpec, ReceiverType } from "../api/index.ts";
import {
  Delivery,
  deliveryBytesMax,
  isWokenBy,
  readPush,
  receiverStatus,
  sourcesOf,
  tokenOf,
  webhookPath,
  type Headers,
  type Pushed,
  type Verdict,
} from "./index.ts";
import { repositoryOf } from "./payload.ts";

const token = "0123456789abcdef";
const types: readonly ReceiverType[] = [
  "generic",
  "generic-hmac",
  "github",
  "gitlab",
  "gitea",
  "distribution",
];

const specOf = (type: ReceiverType, more: Partial<ReceiverSpec> = {}): ReceiverSpec => ({
  type,
  secretRef: { name: "receiver-token" },
  resources: [{ kind: "Fleet", matchLabels: {} }],
  suspend: false,
  ...more,
});

const hmacOf = (body: string | Buffer, key = token) =>
  createHmac("sha256", key).update(body).digest("hex");

/** The headers with which each provider proves this body. */
function proven(type: ReceiverType, body: string | Buffer, key = token): Headers {
  switch (type) {
    case "generic":
      return {};
    case "generic-hmac":
      return { "x-signature": `sha256=${hmacOf(body, key)}` };
    case "github":
      return { "x-hub-signature-256": `sha256=${hmacOf(body, key)}`, "x-github-event": "push" };
    case "gitea":
      return { "x-gitea-signature": hmacOf(body, key), "x-gitea-event": "push" };
    case "gitlab":
      return { "x-gitlab-token": key, "x-gitlab-event": "Push Hook" };
    case "distribution":
      return { authorization: `Bearer ${key}` };
  }
}

function deliver(
  spec: ReceiverSpec,
  headers: Headers,
  body: string | Buffer,
  key = token,
): Verdict | "too long" {
  const delivery = Delivery.begin(spec, key, headers);
  if (!(delivery instanceof Delivery)) return delivery;
  const bytes = Buffer.from(body);
  for (let at = 0; at < bytes.length; at += 16_384)
    if (!delivery.take(bytes.subarray(at, at + 16_384))) return "too long";
  return delivery.end();
}

const push = JSON.stringify({
  ref: "refs/heads/main",
  repository: { clone_url: "https://git.example/team/fleet.git" },
  project: { git_http_url: "https://git.example/team/fleet.git" },
  events: [{ action: "push", target: { repository: "team/config", tag: "stable" } }],
});
const genuine = (pushed: Pushed) => ({ kind: "genuine", pushed });
const refused = (status: number) => ({ kind: "refused", status });

test("the path is Flux's: /hook/ and the SHA-256 of token, name and namespace", () => {
  const digest = createHash("sha256").update(`${token}webhookfleet`).digest("hex");
  assert.equal(webhookPath(token, { name: "webhook", namespace: "fleet" }), `/hook/${digest}`);
});

test("a token is 16 bytes of text or more, and no message shows it", () => {
  const of = (value: string | Buffer | undefined) =>
    tokenOf({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "t" },
      data: value === undefined ? {} : { token: Buffer.from(value).toString("base64") },
    });
  assert.deepEqual(of(token), { kind: "good", token });
  for (const wrong of [undefined, "", "short-s3cret", `${token}\n`, Buffer.alloc(20, 0xff)]) {
    const found = of(wrong);
    assert.equal(found.kind, "bad");
    assert.ok(!JSON.stringify(found).includes("s3cret") && !JSON.stringify(found).includes(token));
  }
});

test("each provider's own proof is accepted, and tells what was pushed", () => {
  const git = genuine({
    kind: "git",
    repositories: ["git.example/team/fleet"],
    ref: "refs/heads/main",
  });
  const anything = genuine({ kind: "anything" });
  const oci = genuine({ kind: "oci", tags: [{ repository: "team/config", tag: "stable" }] });
  const want = {
    generic: anything,
    "generic-hmac": anything,
    github: git,
    gitlab: git,
    gitea: git,
    distribution: oci,
  };
  for (const type of types)
    assert.deepEqual(deliver(specOf(type), proven(type, push), push), want[type], type);
  const bare = { authorization: token };
  assert.deepEqual(deliver(specOf("distribution"), bare, push), oci);
});

test("of what distribution tells, a manifest with a tag is a push, a blob is none", () => {
  // As distribution v3.1.2 sent it in the laboratory, shortened.
  const event = (target: object, action = "push") => ({
    id: "01a1fec0-4ea7-74ef-bf90-4e9dc42191ea",
    timestamp: "2026-11-21T15:36:18.343324584Z",
    action,
    target: { repository: "team/config", size: 460, ...target },
    request: { host: "127.0.0.1:33999", method: "PUT", useragent: "capitan" },
    actor: {},
    source: { addr: "vm:33999" },
  });
  const manifest = { mediaType: "application/vnd.oci.image.manifest.v1+json", tag: "stable" };
  const blob = { mediaType: "application/octet-stream" };
  const read = (...events: readonly object[]) =>
    readPush(specOf("distribution"), undefined, { events });
  assert.deepEqual(read(event(blob)), { kind: "nothing" });
  assert.deepEqual(read(event(manifest, "pull")), { kind: "nothing" });
  assert.deepEqual(read(event({ ...manifest, tag: undefined })), { kind: "nothing" });
  const tags = [{ repository: "team/config", tag: "stable" }];
  assert.deepEqual(read(event(blob), event(manifest)), { kind: "oci", tags });
});

test("GitHub's own example of a signature verifies", () => {
  // docs.github.com, "Validating webhook deliveries": secret, body and signature to test with.
  const headers = {
    "x-hub-signature-256":
      "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-event": "ping",
  };
  const secret = "It's a Secret to Everybody";
  const verdict = deliver(specOf("github"), headers, "Hello, World!", secret);
  assert.deepEqual(verdict, genuine({ kind: "nothing" }));
});

test("W3 a wrong, empty, cut, foreign or missing proof is 401, whatever the body", () => {
  for (const type of types.filter((name) => name !== "generic")) {
    const spec = specOf(type);
    const right = proven(type, push);
    const [name = ""] = Object.keys(right);
    const value = String(right[name]);
    const other = type === "distribution" || type === "gitlab" ? `${value}x` : value.toUpperCase();
    const wrong: readonly (string | readonly string[] | undefined)[] = [
      undefined,
      "",
      "sha256=",
      "Bearer ",
      value.slice(0, -1),
      value.replace("sha256=", "sha1="),
      value.replace("sha256=", "none="),
      `${value}, ${value}`,
      `x${value}`,
      [value, value],
      String(proven(type, push, "another-token-of-another")[name]),
      other.replace(/[0-9A-F]$/, "z"),
    ].filter((one) => one !== value);
    for (const shown of wrong)
      assert.deepEqual(
        deliver(spec, { ...right, [name]: shown }, push),
        refused(401),
        `${type}: ${String(shown)}`,
      );
    const changed = deliver(spec, right, `${push} `);
    if (value.includes(hmacOf(push))) assert.deepEqual(changed, refused(401), type);
  }
});

test("W3 the proof of one provider is none for another, and sent again it only wakes again", () => {
  for (const of of types)
    for (const to of types.filter((type) => type !== of && type !== "generic"))
      assert.deepEqual(deliver(specOf(to), proven(of, push), push), refused(401), `${of} as ${to}`);
  for (const type of types) {
    const twice = [1, 2].map(() => deliver(specOf(type), proven(type, push), push));
    assert.deepEqual(twice[0], twice[1]);
  }
});

test("W1 what is compressed is refused before it is read; what is long is cut off or only hashed", () => {
  for (const encoding of ["gzip", "br", "deflate", "identity, gzip"]) {
    const headers = { ...proven("github", push), "content-encoding": encoding };
    assert.deepEqual(deliver(specOf("github"), headers, push), refused(415));
  }
  const announced = { ...proven("github", push), "content-length": String(1024 ** 3) };
  assert.deepEqual(deliver(specOf("github"), announced, push), refused(413));
  const long = Buffer.alloc(deliveryBytesMax + 1, " ");
  for (const type of types)
    assert.equal(deliver(specOf(type), proven(type, long), long), "too long");
  // A push of hundreds of commits is genuine, and may concern any Fleet of the Receiver.
  const large = Buffer.concat([Buffer.from(push), Buffer.alloc(200_000, " ")]);
  for (const type of types)
    assert.deepEqual(
      deliver(specOf(type), proven(type, large), large),
      genuine({ kind: "anything" }),
    );
  assert.deepEqual(deliver(specOf("github"), proven("github", push), large), refused(401));
});

test("events that are not listed wake nobody; a listed one that is no push wakes by repository", () => {
  const as = (event: string, events?: readonly string[]) => {
    const headers = { ...proven("github", push), "x-github-event": event };
    return deliver(specOf("github", events === undefined ? {} : { events }), headers, push);
  };
  assert.deepEqual(as("ping"), genuine({ kind: "nothing" }));
  assert.deepEqual(as("push", ["release"]), genuine({ kind: "nothing" }));
  assert.deepEqual(
    as("release", ["release"]),
    genuine({ kind: "git", repositories: ["git.example/team/fleet"], ref: undefined }),
  );
});

test("a push that does not say the whole name of its reference wakes nobody", () => {
  const repository = { clone_url: "https://git.example/team/fleet.git" };
  for (const ref of [undefined, null, "", "main", 7, ["refs/heads/main"]])
    assert.deepEqual(readPush(specOf("github"), "push", { ref, repository }), { kind: "nothing" });
});

test("GitHub's form is read as its JSON is", () => {
  const body = new URLSearchParams({ payload: push }).toString();
  const type = { "content-type": "application/x-www-form-urlencoded" };
  const verdict = deliver(specOf("github"), { ...proven("github", body), ...type }, body);
  assert.equal(verdict !== "too long" && verdict.kind === "genuine" && verdict.pushed.kind, "git");
});

test("W2 no payload crashes, and what is not clearly a push of something wakes nobody", () => {
  const fleet = {
    name: "f",
    labels: {},
    sources: sourcesOf({
      layers: [
        { git: { url: "https://git.example/.*" } },
        { oci: { url: "oci://registry.example/team/config" } },
      ],
    }),
  };
  const field = fc.oneof(fc.string(), fc.jsonValue(), fc.constantFrom(".*", "^", "git.example/.*"));
  const shaped = fc.record(
    {
      ref: field,
      repository: fc.oneof(fc.record({ clone_url: field, ssh_url: field }), fc.jsonValue()),
      project: fc.oneof(fc.record({ git_http_url: field }), fc.jsonValue()),
      events: fc.oneof(
        fc.array(
          fc.record({ action: field, target: fc.record({ repository: field, tag: field }) }),
        ),
        fc.jsonValue(),
      ),
    },
    { requiredKeys: [] },
  );
  const runs = { numRuns: 2_000 };
  for (const type of types) {
    const spec = specOf(type);
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), shaped), (payload) => {
        const pushed = readPush(spec, "push", payload);
        const woken = isWokenBy(fleet, spec, pushed);
        assert.equal(woken, type.startsWith("generic"), JSON.stringify(payload));
      }),
      runs,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_096 }), fc.string(), (bytes, contentType) => {
        const body = Buffer.from(bytes);
        const headers = { ...proven(type, body), "content-type": contentType };
        const verdict = deliver(spec, headers, body);
        assert.notEqual(verdict, "too long");
      }),
      runs,
    );
  }
  const deep = `${"[".repeat(60_000)}12345678901234567890`;
  for (const type of types) deliver(specOf(type), proven(type, deep), deep);
});

test("a repository is the same by every address, and no other is it", () => {
  const same = [
    "https://git.example/Team/fleet",
    "https://git.example/team/fleet.git/",
    "https://user:password@git.example:8443/team/fleet.git",
    "ssh://git@git.example:2222/team/fleet.git",
    "git@GIT.example:team/fleet.git",
    "git://git.example//team/fleet",
  ];
  for (const url of same) assert.equal(repositoryOf(url), "git.example/team/fleet", url);
  const others = ["https://git.example.evil/team/fleet", "https://git.example/team/fleet.git.git"];
  for (const url of others) assert.notEqual(repositoryOf(url), "git.example/team/fleet", url);
  for (const url of ["", "https://git.example/", "/etc/passwd", "x".repeat(5_000), "https://"])
    assert.equal(repositoryOf(url), undefined, url);
});

const branch = (name: string): Pushed => ({
  kind: "git",
  repositories: ["git.example/team/fleet"],
  ref: `refs/heads/${name}`,
});
const gitTag = (name: string): Pushed => ({
  kind: "git",
  repositories: ["git.example/team/fleet"],
  ref: `refs/tags/${name}`,
});
const oci = (tag: string, repository = "team/config"): Pushed => ({
  kind: "oci",
  tags: [{ repository, tag }],
});
const git = (ref?: object) => ({ git: { url: "ssh://git@git.example/team/fleet.git", ref } });
const artifact = (ref?: object) => ({ oci: { url: "oci://registry.example/team/config", ref } });

const cases: readonly {
  readonly layer: object;
  readonly wakes: readonly Pushed[];
  readonly sleeps: readonly Pushed[];
}[] = [
  { layer: git(), wakes: [branch("main")], sleeps: [branch("mainx"), gitTag("main"), oci("main")] },
  { layer: git({ branch: "stage" }), wakes: [branch("stage")], sleeps: [branch("main")] },
  { layer: git({ tag: "v1" }), wakes: [gitTag("v1")], sleeps: [branch("v1"), gitTag("v2")] },
  {
    layer: git({ semver: ">=1.0.0 <2.0.0" }),
    wakes: [gitTag("v1.4.0")],
    sleeps: [gitTag("v2.0.0"), gitTag("latest"), branch("1.4.0")],
  },
  { layer: git({ name: "refs/heads/x" }), wakes: [branch("x")], sleeps: [branch("main")] },
  { layer: git({ commit: "a".repeat(40) }), wakes: [], sleeps: [branch("main")] },
  {
    layer: artifact(),
    wakes: [oci("latest")],
    sleeps: [oci("stable"), oci("latest", "team/other"), branch("latest")],
  },
  { layer: artifact({ tag: "stable" }), wakes: [oci("stable")], sleeps: [oci("latest")] },
  { layer: artifact({ semver: "1.x" }), wakes: [oci("1.2.3")], sleeps: [oci("2.0.0"), oci("x")] },
  { layer: artifact({ digest: "sha256:a" }), wakes: [], sleeps: [oci("latest")] },
  {
    layer: { flux: { version: "2.9.x", artifact: { url: "oci://r.example/flux" } } },
    wakes: [oci("v2.9.5", "flux")],
    sleeps: [oci("v2.10.0", "flux")],
  },
  { layer: { flux: { sync: git() } }, wakes: [branch("main")], sleeps: [branch("x")] },
  { layer: { flux: { sync: { ...git(), follow: "Tag" } } }, wakes: [], sleeps: [branch("main")] },
  { layer: { inline: [] }, wakes: [], sleeps: [branch("main"), oci("latest")] },
];

test("a push wakes the Fleets with a source that moves by it, and no other", () => {
  const spec = specOf("github");
  for (const { layer, wakes, sleeps } of cases) {
    const fleet = { name: "f", labels: {}, sources: sourcesOf({ layers: [layer] }) };
    const text = (pushed: Pushed) => `${JSON.stringify(layer)} ${JSON.stringify(pushed)}`;
    for (const pushed of wakes) assert.equal(isWokenBy(fleet, spec, pushed), true, text(pushed));
    for (const pushed of sleeps) assert.equal(isWokenBy(fleet, spec, pushed), false, text(pushed));
    assert.equal(isWokenBy(fleet, spec, { kind: "anything" }), true);
    assert.equal(isWokenBy(fleet, spec, { kind: "nothing" }), false);
  }
});

test("only the Fleets that a Receiver names are woken: by name, by labels", () => {
  const fleet = { name: "a", labels: { tier: "1" }, sources: [] };
  const woken = (resources: ReceiverSpec["resources"]) =>
    isWokenBy(fleet, specOf("generic", { resources }), { kind: "anything" });
  assert.equal(woken([{ kind: "Fleet", name: "a" }]), true);
  assert.equal(woken([{ kind: "Fleet", matchLabels: { tier: "1" } }]), true);
  assert.equal(woken([{ kind: "Fleet", matchLabels: {} }]), true);
  assert.equal(woken([{ kind: "Fleet", name: "b" }]), false);
  assert.equal(woken([{ kind: "Fleet", matchLabels: { tier: "2" } }]), false);
  assert.equal(woken([{ kind: "Fleet" }]), false);
});

test("a spec that came past the CRD has the sources that can be read", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (spec) => {
      sourcesOf(spec);
      sourcesOf({ layers: spec });
      sourcesOf({ layers: [{ git: spec, oci: spec, flux: spec }] });
    }),
  );
});

test("the status says the path of a Receiver that listens, and what is wrong with another", () => {
  const receiver: Receiver = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Receiver",
    metadata: { name: "r", namespace: "fleet", generation: 3 },
    spec: specOf("github"),
  };
  const now = "2026-01-01T00:00:00.000Z";
  const ready = receiverStatus(receiver, { kind: "good", token }, now);
  assert.equal(ready.observedGeneration, 3);
  assert.equal(ready.webhookPath, webhookPath(token, { name: "r", namespace: "fleet" }));
  assert.deepEqual(
    ready.conditions?.map(({ type, status, reason }) => [type, status, reason]),
    [["Ready", "True", "ReconciliationSucceeded"]],
  );
  for (const [found, code] of [
    [{ kind: "none" }, "ReceiverTokenInvalid"],
    [{ kind: "bad", why: "has no key token" }, "ReceiverTokenInvalid"],
    [{ kind: "refused" }, "ReceiverTokenRefused"],
  ] as const) {
    const status = receiverStatus({ ...receiver, status: ready }, found, now);
    assert.equal(status.webhookPath, undefined);
    assert.deepEqual(
      status.conditions?.map(({ type, status, reason }) => [type, status, reason]),
      [
        ["Ready", "False", code],
        ["Stalled", "True", code],
      ],
    );
  }
});
