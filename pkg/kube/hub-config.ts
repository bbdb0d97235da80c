import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { CapitanError, messageOf } from "../errors/index.ts";
import { asList, asMap, asString, parseJson, type JsonMap } from "../json/index.ts";
import type { ConnectionConfig, Credentials } from "../kubeconfig/index.ts";
import { selectContext } from "../kubeconfig/index.ts";

const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount";
const tokenReloadMs = 60_000;
const execTimeoutMs = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The hub's own connection: the file that `path`, or KUBECONFIG, or ~/.kube/config names, else the
 * pod's ServiceAccount. The hub's kubeconfig is trusted: it may read files and run exec plugins.
 * Throws HubConfigInvalid.
 */
export async function loadHubConfig(
  environment: Environment,
  path?: string,
): Promise<ConnectionConfig> {
  const file = path ?? environment["KUBECONFIG"];
  if (file !== undefined && file !== "") return fromFile(file, environment);
  if (environment["KUBERNETES_SERVICE_HOST"] !== undefined) return inCluster(environment);
  return fromFile(join(environment["HOME"] ?? "/root", ".kube", "config"), environment);
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

async function fromFile(file: string, environment: Environment): Promise<ConnectionConfig> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new CapitanError(
      "HubConfigInvalid",
      `cannot read the kubeconfig ${file}: ${messageOf(error)}`,
    );
  });
  const { cluster, user } = selectContext(text, file, "HubConfigInvalid");
  const at = (field: string, map: JsonMap) => inlineOrFile(map, field, dirname(file));
  const server = URL.parse(asString(cluster["server"]) ?? "");
  if (server === null)
    throw new CapitanError("HubConfigInvalid", `${file}: the cluster has no usable server URL`);
  const cert = await at("client-certificate", user);
  const key = await at("client-key", user);
  return {
    server: `${server.origin}${server.pathname.replace(/\/+$/, "")}`,
    ca: await at("certificate-authority", cluster),
    serverName: asString(cluster["tls-server-name"]),
    credentials: {
      ...(cert !== undefined && key !== undefined ? { certificate: { cert, key } } : {}),
      ...authorizationOf(user, dirname(file), environment),
    },
  };
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
    const { stdout } = await promisify(execFile)(program, args, { env, timeout: execTimeoutMs });
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
