import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { cacheDir, root } from "./paths.ts";
import type { Progress } from "./progress.ts";

const run = promisify(execFile);

const kubernetesVersion = "1.36.3";
const kubernetesFlags = ["gitVersion=v" + kubernetesVersion, "gitMajor=1", "gitMinor=36"]
  .map((x) => `-X k8s.io/component-base/version.${x}`)
  .join(" ");

/** Where a program is pinned (a Go tool module), and about how long a cold build takes on two cores. */
type Pin = {
  readonly module: string;
  readonly package: string;
  readonly flags: string;
  /** Build tags. */
  readonly tags?: string;
  readonly coldSeconds: number;
  /** Whether one that is installed will do. */
  readonly fromPath: boolean;
  /** The program's files when it is ours and lies in the module itself. */
  readonly sources?: readonly string[];
};

/** The control-plane programs. */
const labTools = {
  etcd: {
    module: "etcd",
    package: "go.etcd.io/etcd/server/v3",
    flags: "",
    coldSeconds: 50,
    fromPath: true,
  },
  registry: {
    module: "registry",
    package: "github.com/distribution/distribution/v3/cmd/registry",
    flags: "",
    coldSeconds: 55,
    fromPath: false,
  },
  "kube-apiserver": {
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    flags: kubernetesFlags,
    coldSeconds: 185,
    fromPath: true,
  },
  "kube-controller-manager": {
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    flags: kubernetesFlags,
    coldSeconds: 50,
    fromPath: true,
  },
  "capi-core": {
    module: "capi",
    package: "sigs.k8s.io/cluster-api/core",
    flags: "",
    coldSeconds: 95,
    fromPath: false,
  },
} as const satisfies Record<string, Pin>;

/** Programs that only tests run: nobody else waits for their build. */
const testTools = {
  clusterctl: {
    module: "capi",
    package: "sigs.k8s.io/cluster-api/cmd/clusterctl",
    flags: "",
    coldSeconds: 95,
    fromPath: false,
  },
  "capi-kubeadm-bootstrap": {
    module: "capi-providers",
    package: "sigs.k8s.io/cluster-api/bootstrap/kubeadm",
    flags: "",
    coldSeconds: 95,
    fromPath: false,
  },
  "capi-kubeadm-control-plane": {
    module: "capi-providers",
    package: "sigs.k8s.io/cluster-api/controlplane/kubeadm",
    flags: "",
    coldSeconds: 95,
    fromPath: false,
  },
  "capi-in-memory": {
    module: "capi-providers",
    package: ".",
    flags: "",
    coldSeconds: 110,
    fromPath: false,
    sources: ["main.go", "plain.go"],
  },
  "kustomize-controller": {
    module: "kustomize-controller",
    package: "github.com/fluxcd/kustomize-controller",
    flags: "",
    coldSeconds: 165,
    fromPath: false,
  },
  "flux-oci": {
    module: "flux-oci",
    package: ".",
    flags: "",
    coldSeconds: 15,
    fromPath: false,
    sources: ["main.go"],
  },
  "notification-controller": {
    module: "monitoring",
    package: "github.com/fluxcd/notification-controller",
    flags: "",
    coldSeconds: 150,
    fromPath: false,
  },
  promtool: {
    module: "monitoring",
    package: "github.com/prometheus/prometheus/cmd/promtool",
    flags: "",
    // Nothing is discovered: without the clients of every cloud.
    tags: "remove_all_sd",
    coldSeconds: 75,
    fromPath: false,
  },
  sops: {
    module: "sops",
    package: "github.com/getsops/sops/v3/cmd/sops",
    flags: "",
    coldSeconds: 120,
    fromPath: false,
  },
  "sops-batch": {
    module: "sops",
    package: ".",
    flags: "",
    coldSeconds: 120,
    fromPath: false,
    sources: ["main.go"],
  },
} as const satisfies Record<string, Pin>;

type LabTool = keyof typeof labTools;
type TestTool = keyof typeof testTools;

/** Paths of the programs. */
export type Tools = Readonly<Record<LabTool, string>>;

/**
 * Makes every program of the lab available: from KUBEBUILDER_ASSETS or PATH where one is there,
 * else built once from its pinned Go tool module into the cache. Throws when Go is missing or a
 * build fails, with the compiler's last lines.
 */
export async function ensureTools(progress: Progress): Promise<Tools> {
  const found = {} as Record<LabTool, string>;
  const missing: LabTool[] = [];
  for (const name of Object.keys(labTools) as LabTool[]) {
    const path = fromEnvironment(name) ?? (await cachedPath(name, labTools[name]));
    found[name] = path;
    if (!existsSync(path)) missing.push(name);
  }
  let seconds = missing.reduce((sum, name) => sum + labTools[name].coldSeconds, 0);
  for (const name of missing) {
    const left = seconds >= 90 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} s`;
    await progress.during(
      `building ${name} (at most about ${left} to go on two cores; done once)`,
      () => build(name, labTools[name], found[name]),
    );
    seconds -= labTools[name].coldSeconds;
  }
  return found;
}

/** Makes a program available that only tests run, and gives its path. Throws as `ensureTools` does. */
export async function ensureTool(name: TestTool, progress: Progress): Promise<string> {
  const pin = testTools[name];
  const path = await cachedPath(name, pin);
  const text = `building ${name} (at most about ${pin.coldSeconds} s on two cores; done once)`;
  if (!existsSync(path)) await progress.during(text, () => build(name, pin, path));
  return path;
}

function fromEnvironment(name: LabTool): string | undefined {
  if (!labTools[name].fromPath) return undefined;
  const dirs = [
    process.env["KUBEBUILDER_ASSETS"] ?? "",
    ...(process.env["PATH"] ?? "").split(delimiter),
  ];
  return dirs
    .filter((dir) => dir !== "")
    .map((dir) => join(dir, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The cache is keyed by all that decides the binary, so that a new pin is a new file. */
async function cachedPath(name: string, pin: Pin): Promise<string> {
  const { module, package: pkg, flags, tags = "", sources = [] } = pin;
  const dir = join(root, "hack", "tools", module);
  const inputs = [
    await readFile(join(dir, "go.mod")),
    await readFile(join(dir, "go.sum")),
    pkg,
    flags,
    ...(tags === "" ? [] : [tags]),
    process.arch,
    ...(await Promise.all(sources.map((file) => readFile(join(dir, file))))),
  ];
  const hash = createHash("sha256");
  for (const input of inputs) hash.update(input).update("\u0000");
  return join(cacheDir, "bin", `${name}-${hash.digest("hex").slice(0, 16)}`);
}

async function build(
  name: string,
  { module, package: pkg, flags, tags = "" }: Pin,
  output: string,
): Promise<void> {
  await mkdir(join(cacheDir, "bin"), { recursive: true });
  const temporary = `${output}.${process.pid}`;
  const linked = ["-ldflags", `-s -w ${flags}`, "-tags", tags];
  const args = ["build", "-trimpath", ...linked, "-o", temporary, pkg];
  const child = spawn("go", args, {
    cwd: join(root, "hack", "tools", module),
    env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors = (errors + data.toString()).slice(-2000)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", () =>
      reject(new Error(`cannot run go: Go 1.26 or later is needed to build ${name}`)),
    );
    child.once("close", resolve);
  });
  if (code !== 0) {
    await rm(temporary, { force: true });
    throw new Error(`go build ${pkg} failed:\n${errors}`);
  }
  await rename(temporary, output);
}

/** The directory of a pinned module in Go's module cache, downloaded and checked against go.sum when it is not there. */
export async function moduleDir(module: string, path: string): Promise<string> {
  const cwd = join(root, "hack", "tools", module);
  const pin = new RegExp(`^\\s*(?:require )?${RegExp.escape(path)} (v\\S+)`, "m").exec(
    await readFile(join(cwd, "go.mod"), "utf8"),
  );
  const { stdout } = await run("go", ["mod", "download", "-json", `${path}@${pin?.[1] ?? ""}`], {
    cwd,
    env: { ...process.env, GOFLAGS: "-mod=mod" },
    maxBuffer: 1 << 24,
  });
  const { Dir } = JSON.parse(stdout) as { Dir: string };
  return Dir;
}
