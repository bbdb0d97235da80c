import assert from "node:assert/strict";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { fluxOci } from "../harness/flux-oci.ts";
import { capitan, sharedLab } from "../harness/index.ts";

let host: string;
let dir: string;
let source: string;
let counter = 0;

before(async () => {
  host = (await sharedLab()).registry;
  dir = await mkdtemp(join(tmpdir(), "capitan-flux-"));
  await ensureTool("flux-oci", silent);
  source = join(dir, "source");
  for (const [name, text] of Object.entries(files)) await put(join(source, name), text);
  await chmod(join(source, "run.sh"), 0o755);
});
after(() => rm(dir, { recursive: true, force: true }));

const files: Readonly<Record<string, string>> = {
  "a.yaml": "kind: A\n",
  "sub/dir/b.yaml": "kind: B\n",
  "sub.yaml": "sorts between sub and sub/dir\n",
  "run.sh": "#!/bin/sh\n",
  "empty.yaml": "",
  "é\u{1f600}.yaml": "not ASCII\n",
  [`${"long/".repeat(30)}name.yaml`]: "more than a USTAR name holds\n",
};

async function put(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

/** A directory that does not exist yet. */
const fresh = () => join(dir, `out-${counter++}`);

/** What is in a directory: the text of each file, with a mark when it is executable. */
async function contents(root: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found: Record<string, string> = {};
  for (const entry of entries.filter((e) => e.isFile())) {
    const file = join(entry.parentPath, entry.name);
    const mark = ((await stat(file)).mode & 0o100) === 0 ? "" : "x ";
    found[relative(root, file)] = mark + (await readFile(file, "utf8"));
  }
  return found;
}

/** Runs the CLI, which must succeed; gives its JSON. */
async function cli<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await capitan([...args, "-o", "json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as T;
}

type Pushed = { readonly digest: string; readonly url: string };
type Meta = {
  readonly created: string;
  readonly source_url: string;
  readonly source_revision: string;
  readonly digest: string;
  readonly url: string;
  readonly annotations: Readonly<Record<string, string>>;
};

async function fluxPull(url: string, ...args: string[]): Promise<{ out: string; meta: Meta }> {
  const out = fresh();
  await mkdir(out);
  return { out, meta: (await fluxOci("pull", url, ...args, out)) as Meta };
}

async function capitanPull(
  url: string,
  ...args: string[]
): Promise<{ out: string; digest: string }> {
  const out = fresh();
  const { digest } = await cli<Pushed>("pull", "artifact", `oci://${url}`, "-f", out, ...args);
  return { out, digest };
}

const digestIn = (url: unknown) => String(url).split("@")[1];

test("Capitan pulls what Flux pushed: files, modes, digest, annotations", async () => {
  const url = `${host}/flux/dir:v1`;
  const annotations = ["-source", "https://git.example/x", "-revision", "main@sha1:1"];
  const pushed = await fluxOci("push", url, ...annotations, "-annotation", "team=a", source);
  const { out, digest } = await capitanPull(url);
  assert.deepEqual(await contents(out), await contents(source));
  assert.equal(digest, digestIn(pushed));
  const [listed] = await cli<readonly object[]>("list", "artifacts", `oci://${host}/flux/dir`);
  const { source: from, revision, created } = listed as Record<string, string>;
  assert.deepEqual([from, revision], ["https://git.example/x", "main@sha1:1"]);
  assert.match(created ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test("Flux pulls what Capitan pushed: files, modes, digest, annotations", async () => {
  const url = `${host}/capitan/dir:v1`;
  const annotations = ["--source", "https://git.example/x", "--revision", "main@sha1:1"];
  const pushed = await cli<Pushed>(
    "push",
    "artifact",
    `oci://${url}`,
    "-f",
    source,
    ...annotations,
    "-a",
    "team=a",
  );
  const { out, meta } = await fluxPull(url);
  assert.deepEqual(await contents(out), await contents(source));
  assert.equal(digestIn(meta.digest), pushed.digest);
  assert.equal(pushed.url, `oci://${host}/capitan/dir@${pushed.digest}`);
  assert.equal(meta.source_url, "https://git.example/x");
  assert.equal(meta.source_revision, "main@sha1:1");
  assert.equal(meta.annotations["team"], "a");
  assert.match(meta.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test("the manifests of both have the same shape", async () => {
  const shapeOf = async (url: string) => {
    const [repository = "", tag = ""] = url.split(/:(?=[^:]*$)/);
    const path = repository.replace(`${host}/`, "");
    const reply = await fetch(`http://${host}/v2/${path}/manifests/${tag}`, {
      headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
    });
    const { annotations, config, layers, ...rest } = (await reply.json()) as {
      annotations: object;
      config: { mediaType: string };
      layers: readonly { mediaType: string }[];
    };
    const types = [config.mediaType, ...layers.map(({ mediaType }) => mediaType)];
    return { ...rest, types, annotations: Object.keys(annotations).sort() };
  };
  const flux = await shapeOf(`${host}/flux/dir:v1`);
  assert.deepEqual(await shapeOf(`${host}/capitan/dir:v1`), flux);
});

test("a single file, both ways, and latest is the tag when none is named", async () => {
  const file = join(source, "a.yaml");
  await fluxOci("push", `${host}/flux/file`, file);
  assert.deepEqual(await contents((await capitanPull(`${host}/flux/file`)).out), {
    "a.yaml": "kind: A\n",
  });
  await cli("push", "artifact", `oci://${host}/capitan/file`, "-f", file);
  assert.deepEqual(await contents((await fluxPull(`${host}/capitan/file:latest`)).out), {
    "a.yaml": "kind: A\n",
  });
});

test("reproducible: created is the epoch and the same files have the same digest, both ways", async () => {
  const epoch = "1970-01-01T00:00:00Z";
  const push = (tag: string) =>
    cli<Pushed>(
      "push",
      "artifact",
      `oci://${host}/capitan/same:${tag}`,
      "-f",
      source,
      "--reproducible",
    );
  assert.equal((await push("a")).digest, (await push("b")).digest);
  assert.equal((await fluxPull(`${host}/capitan/same:b`)).meta.created, epoch);
  const flux = (tag: string) =>
    fluxOci("push", `${host}/flux/same:${tag}`, "-created", epoch, source);
  assert.equal(digestIn(await flux("a")), digestIn(await flux("b")));
  const listed = await cli<readonly { created: string }[]>(
    "list",
    "artifacts",
    `oci://${host}/flux/same`,
  );
  assert.deepEqual(
    listed.map(({ created }) => created),
    [epoch, epoch],
  );
});

test("Flux's static layers are one file each", async () => {
  const file = join(source, "a.yaml");
  for (const [extension, name] of [
    ["yaml", "content.yaml"],
    ["", "content"],
  ] as const) {
    const url = `${host}/flux/static:v${extension}`;
    await fluxOci("push", url, "-type", "static", "-ext", extension, file);
    assert.deepEqual(await contents((await capitanPull(url)).out), { [name]: "kind: A\n" });
  }
});

test("several layers, and a config with diff_ids as older Flux wrote it: both take the same layer", async () => {
  const layers = await Promise.all(
    ["first", "second"].map(async (name) => {
      const repository = `capitan/part-${name}`;
      await put(join(dir, name, `${name}.yaml`), name);
      await cli("push", "artifact", `oci://${host}/${repository}`, "-f", join(dir, name));
      return blobOf(repository);
    }),
  );
  const url = `${host}/flux/layers:v1`;
  const type = "application/vnd.example.tar+gzip";
  await fluxOci("image", url, ...layers.map((file) => `${type}=${file}`));
  assert.match(await configOf("flux/layers", "v1"), /"diff_ids":\["sha256:/);
  for (const [index, name] of ["first", "second"].entries()) {
    const want = { [`${name}.yaml`]: name };
    const { out } = await capitanPull(url, "--layer", String(index));
    assert.deepEqual(await contents(out), want);
    assert.deepEqual(await contents((await fluxPull(url, "-index", String(index))).out), want);
  }
  assert.deepEqual(Object.keys(await contents((await capitanPull(url)).out)), ["first.yaml"]);
  const { stderr } = await capitan([
    "pull",
    "artifact",
    `oci://${url}`,
    "-f",
    fresh(),
    "--layer",
    "2",
  ]);
  assert.match(stderr, /ArtifactNotFound: .* has no layer 2/);
});

const isManifest = { headers: { accept: "application/vnd.oci.image.manifest.v1+json" } };
type Parts = { readonly config: Digest; readonly layers: readonly Digest[] };
type Digest = { readonly digest: string };

async function manifestAt(repository: string, tag: string): Promise<Parts> {
  const reply = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, isManifest);
  return (await reply.json()) as Parts;
}

/** The bytes of the content layer of an artifact, in a file. */
async function blobOf(repository: string): Promise<string> {
  const [layer] = (await manifestAt(repository, "latest")).layers;
  const blob = await fetch(`http://${host}/v2/${repository}/blobs/${layer?.digest ?? ""}`);
  const file = fresh();
  await writeFile(file, new Uint8Array(await blob.arrayBuffer()));
  return file;
}

async function configOf(repository: string, tag: string): Promise<string> {
  const { config } = await manifestAt(repository, tag);
  return (await fetch(`http://${host}/v2/${repository}/blobs/${config.digest}`)).text();
}

test("an index: the platform's, the only one, and no guess among several", async () => {
  for (const name of ["amd", "arm"]) {
    await put(join(dir, name, "a.yaml"), name);
    await cli("push", "artifact", `oci://${host}/flux/index:${name}`, "-f", join(dir, name));
  }
  const url = `${host}/flux/index:all`;
  const [amd, arm] = [
    `linux/amd64=${host}/flux/index:amd`,
    `linux/arm64/v8=${host}/flux/index:arm`,
  ];
  await fluxOci("index", url, amd, arm);
  const pulled = async (address: string, ...args: string[]) =>
    (await contents((await capitanPull(address, ...args)).out))["a.yaml"];
  assert.equal(await pulled(url, "--platform", "linux/amd64"), "amd");
  assert.equal(await pulled(url, "--platform", "linux/arm64"), "arm");
  // Flux takes linux/amd64 whatever is there.
  assert.deepEqual(await contents((await fluxPull(url)).out), { "a.yaml": "amd" });
  const { code, stderr } = await capitan(["pull", "artifact", `oci://${url}`, "-f", fresh()]);
  assert.equal(code, 1);
  assert.match(stderr, /ArtifactNotFound: .*index of 2 manifests.*linux\/amd64, linux\/arm64\/v8/);
  await fluxOci("index", `${host}/flux/index:one`, arm);
  assert.equal(await pulled(`${host}/flux/index:one`), "arm");
});

test("links and what is ignored are left out by both alike", async () => {
  const mixed = join(dir, "mixed");
  const names = [
    ".gitignore",
    "keep.yaml",
    "x.png",
    "sub/.git/config",
    "sub/y.tar.gz",
    "z.zip.yaml",
  ];
  for (const name of names) await put(join(mixed, name), name);
  await symlink("/etc/passwd", join(mixed, "link.yaml"));
  const ignored =
    ".git/ .gitignore .gitmodules .gitattributes *.jpg *.jpeg *.gif *.png *.wmv *.flv *.tar.gz *.zip";
  const flags = ignored.split(" ").flatMap((pattern) => ["-ignore", pattern]);
  await fluxOci("push", `${host}/flux/mixed`, ...flags, mixed);
  await cli("push", "artifact", `oci://${host}/capitan/mixed`, "-f", mixed);
  const byFlux = await contents((await capitanPull(`${host}/flux/mixed`)).out);
  assert.deepEqual(Object.keys(byFlux).sort(), ["keep.yaml", "z.zip.yaml"]);
  assert.deepEqual(await contents((await fluxPull(`${host}/capitan/mixed`)).out), byFlux);
});

test("tags that one sets are what the other lists, in the same order", async () => {
  const url = `${host}/flux/tags`;
  await fluxOci("push", `${url}:v1`, "-revision", "r1", source);
  await fluxOci("tag", `${url}:v1`, "stable");
  await cli("tag", "artifact", `oci://${url}:v1`, "--tag", "v1.0.0", "--tag", "v1.0.0.sig");
  const ours = await cli<readonly { tag: string; digest: string; revision: string }[]>(
    "list",
    "artifacts",
    `oci://${url}`,
  );
  const theirs = (await fluxOci("list", url)) as readonly Meta[];
  assert.deepEqual(
    ours.map(({ tag, digest, revision }) => [tag, digest, revision]),
    theirs.map((meta) => [meta.url.split(":").at(-1), meta.digest, meta.source_revision]),
  );
  assert.deepEqual(
    ours.map(({ tag }) => tag),
    ["v1.0.0", "v1", "stable"],
  );
});

test("what Flux packed does not differ from its directory, nor from what Capitan packed", async () => {
  const [flux, ours] = [`oci://${host}/flux/dir:v1`, `oci://${host}/capitan/dir:v1`];
  assert.equal((await capitan(["diff", "artifact", flux, "-f", source])).code, 0);
  assert.deepEqual(await cli("diff", "artifact", flux, ours), []);
  // Flux compares compressed bytes, which two compressors never make alike.
  await assert.rejects(fluxOci("diff", `${host}/capitan/dir:v1`, source), /differs/);
});
