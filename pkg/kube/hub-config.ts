import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { CapitanError, messageOf } from "../errors/index.ts";
import { asList, asMap, asString, parseJson, type JsonMap } from "../json/index.ts";
import type { ConnectionConfig, Credentials } from "../kubeconfig/index.ts";
import { contextNames, selectContext, type Kubeconfig } from "../kubeconfig/index.ts";

const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount";
const tokenReloadMs = 60_000;
const execTimeoutMs = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;

/** What a person said about which hub: a kubeconfig file, and a context in it or in the usual ones. */
export type HubChoice = {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
};

/**
 * The hub's own connection: the kubeconfig that was chosen, or KUBECONFIG's, or the pod's ServiceAccount
 * when no context was chosen, or ~/.kube/config. KUBECONFIG may name several files, as for kubectl. The
 * hub's kubeconfig is trusted: it may read files and run exec plugins. Throws HubConfigInvalid.
 */
export async function loadHubConfig(
  environment: Environment,
  choice: HubChoice = {},
): Promise<ConnectionConfig> {
  const files = kubeconfigFiles(environment, choice);
  if (files === undefined) return inCluster(environment);
  return fromFiles(files, environment, choice.context);
}

/** The names of the contexts that loadHubConfig can be asked for. Throws HubConfigInvalid. */
export async function hubContexts(
  environment: Environment,
  { kubeconfig }: HubChoice,
): Promise<readonly string[]> {
  const files = kubeconfigFiles(environment, { kubeconfig });
  return files === undefined ? [] : contextNames(await readAll(files), "HubConfigInvalid");
}

/** Undefined: the pod's ServiceAccount, which no kubeconfig describes. */
function kubeconfigFiles(
  environment: Environment,
  { kubeconfig = "", context }: HubChoice,
): readonly string[] | undefined {
  if (kubeconfig !== "") return [kubeconfig];
  const named = (environment["KUBECONFIG"] ?? "").split(delimiter).filter((file) => file !== "");
  if (named.length > 0) return named;
  if (context === undefined && environment["KUBERNETES_SERVICE_HOST"] !== undefined)
    return undefined;
  return [join(environment["HOME"] ?? "/root", ".kube", "config")];
}

async function inCluster(environment: Environment): Promise<ConnectionConfig> {
  const host = environment["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = environment["KUBERNETES_SERVICE_PORT"] ?? "443";
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: await readFile(join(serviceAccountDir, "ca.crt"), "utf8"),
    serverName: undefined,
    credentials: { authorization: tokenFrom(join(serviceAccountDir, "token")) },
  };
}

async function fromFiles(
  files: readonly string[],
  environment: Environment,
  context: string | undefined,
): Promise<ConnectionConfig> {
  const selected = selectContext(await readAll(files), "HubConfigInvalid", context);
  const [cluster, user] = [selected.cluster.map, selected.user.map];
  // What a file names is beside that file.
  const ofCluster = (field: string) => inlineOrFile(cluster, field, dirname(selected.cluster.what));
  const ofUser = (field: string) => inlineOrFile(user, field, dirname(selected.user.what));
  const server = URL.parse(asString(cluster["server"]) ?? "");
  if (server === null) {
    const message = `${selected.cluster.what}: the cluster has no usable server URL`;
    throw new CapitanError("HubConfigInvalid", message);
  }
  const cert = await ofUser("client-certificate");
  const key = await ofUser("client-key");
  return {
    server: `${server.origin}${server.pathname.replace(/\/+$/, "")}`,
    ca: await ofCluster("certificate-authority"),
    serverName: asString(cluster["tls-server-name"]),
    credentials: {
      ...(cert !== undefined && key !== undefined ? { certificate: { cert, key } } : {}),
      ...authorizationOf(user, dirname(selected.user.what), environment),
    },
  };
}

/** Of several files those that are not there are left out, as kubectl does it; one must be. */
async function readAll(files: readonly string[]): Promise<readonly Kubeconfig[]> {
  const read = await Promise.allSettled(
    files.map(async (what) => ({ what, text: await readFile(what, "utf8") })),
  );
  const found = read.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failed = read.flatMap((one, i) =>
    one.status === "rejected" ? [{ file: files[i] ?? "", error: one.reason as unknown }] : [],
  );
  const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === "ENOENT";
  const [bad] = failed.filter(({ error }) => found.length === 0 || !isMissing(error));
  if (bad === undefined) return found;
  const message = `cannot read the kubeconfig ${bad.file}: ${messageOf(bad.error)}`;
  throw new CapitanError("HubConfigInvalid", message);
}

async function inlineOrFile(map: JsonMap, field: string, dir: string): Promise<string | undefined> {
  const data = asString(map[`${field}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString("latin1");
  const path = asString(map[field]);
  if (path === undefined || path === "") return undefined;
  return readFile(isAbsolute(path) ? path : join(dir, path), "latin1");
}

function authorizationOf(
  user: JsonMap,
  dir: string,
  environment: Environment,
): Pick<Credentials, "authorization"> {
  const token = asString(user["token"]);
  if (token !== undefined && token !== "")
    return { authorization: () => Promise.resolve(`Bearer ${token}`) };
  const tokenFile = asString(user["tokenFile"]);
  if (tokenFile !== undefined)
    return { authorization: tokenFrom(isAbsolute(tokenFile) ? tokenFile : join(dir, tokenFile)) };
  const username = asString(user["username"]);
  if (username !== undefined) {
    const basic = Buffer.from(`${username}:${asString(user["password"]) ?? ""}`).toString("base64");
    return { authorization: () => Promise.resolve(`Basic ${basic}`) };
  }
  const exec = user["exec"];
  return exec === undefined ? {} : { authorization: tokenByExec(asMap(exec), dir, environment) };
}

/** Projected tokens are replaced on disk, so the file is read again once a minute. */
function tokenFrom(path: string): () => Promise<string> {
  return cached(async () => ({
    value: `Bearer ${(await readFile(path, "utf8")).trim()}`,
    untilMs: Date.now() + tokenReloadMs,
  }));
}

/** client.authentication.k8s.io ExecCredential, token only. */
function tokenByExec(exec: JsonMap, dir: string, environment: Environment): () => Promise<string> {
  return cached(async () => {
    const command = asString(exec["command"]) ?? "";
    const args = asList(exec["args"]).map(String);
    const extra = asList(exec["env"])
      .map(asMap)
      .map((e): [string, string] => [asString(e["name"]) ?? "", asString(e["value"]) ?? ""]);
    const env: NodeJS.ProcessEnv = {
      ...environment,
      ...Object.fromEntries(extra),
      KUBERNETES_EXEC_INFO: execInfo(exec),
    };
    const program = command.includes("/") && !isAbsolute(command) ? join(dir, command) : command;
    const { stdout } = await promisify(execFile)(program, args, {
      env,
      timeout: execTimeoutMs,
    }).catch((error: unknown) => {
      const message = `exec plugin ${command}: ${messageOf(error).trim()}`;
      throw new CapitanError("HubConfigInvalid", message, { cause: error });
    });
    const status = asMap(asMap(parseJson(stdout))["status"]);
    const token = asString(status["token"]);
    if (token === undefined)
      throw new CapitanError("HubConfigInvalid", `exec plugin ${command} returned no token`);
    const expires = Date.parse(asString(status["expirationTimestamp"]) ?? "");
    return {
      value: `Bearer ${token}`,
      untilMs: Number.isNaN(expires) ? Date.now() + tokenReloadMs : expires - 10_000,
    };
  });
}

function execInfo(exec: JsonMap): string {
  const apiVersion = asString(exec["apiVersion"]) ?? "client.authentication.k8s.io/v1";
  return JSON.stringify({ apiVersion, kind: "ExecCredential", spec: { interactive: false } });
}

function cached(load: () => Promise<{ value: string; untilMs: number }>): () => Promise<string> {
  let held: Promise<{ value: string; untilMs: number }> | undefined;
  return async () => {
    const current = await held?.catch(() => undefined);
    if (current === undefined || current.untilMs <= Date.now()) held = load();
    return (await (held ?? load())).value;
  };
}
