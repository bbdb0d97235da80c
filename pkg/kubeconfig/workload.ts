import { X509Certificate } from "node:crypto";
import { CapitanError } from "../errors/index.ts";
import { asString, type JsonMap } from "../json/index.ts";
import type { ConnectionConfig, Credentials } from "./config.ts";
import { selectContext } from "./context.ts";

/** Kubeconfigs are a few kB; a longer one is refused unread. */
const bytesMax = 64 * 1024;

/** What a workload kubeconfig may say. Every other field is refused, known or not. */
const allowedInCluster = new Set([
  "server",
  "certificate-authority-data",
  "tls-server-name",
  "disable-compression",
  "extensions",
]);
const allowedInUser = new Set([
  "client-certificate-data",
  "client-key-data",
  "token",
  "username",
  "password",
  "extensions",
]);

const whyRefused: Readonly<Record<string, string>> = {
  exec: "wants to run a program on the hub (user.exec)",
  "auth-provider": "wants an authentication plugin to run on the hub (user.auth-provider)",
  "certificate-authority": "wants to read a file of the hub (cluster.certificate-authority)",
  "client-certificate": "wants to read a file of the hub (user.client-certificate)",
  "client-key": "wants to read a file of the hub (user.client-key)",
  tokenFile: "wants to read a file of the hub (user.tokenFile)",
  "proxy-url": "wants to go through a proxy (cluster.proxy-url)",
  "insecure-skip-tls-verify": "wants to skip TLS verification (cluster.insecure-skip-tls-verify)",
  as: "wants to impersonate (user.as)",
  "as-uid": "wants to impersonate (user.as-uid)",
  "as-groups": "wants to impersonate (user.as-groups)",
  "as-user-extra": "wants to impersonate (user.as-user-extra)",
};

/**
 * Parses a workload cluster's kubeconfig, which is hostile input, into an allow-list type. Nothing
 * is executed and no file is opened, here or later. `what` names the Secret in messages.
 * Throws KubeconfigInvalid or KubeconfigRefused; messages contain no value of the kubeconfig.
 */
export function parseWorkloadKubeconfig(text: string, what: string): ConnectionConfig {
  if (text.length > bytesMax) throw invalid(what, `is larger than ${bytesMax} bytes`);
  const selected = selectContext([{ what, text }], "KubeconfigInvalid");
  const [cluster, user] = [selected.cluster.map, selected.user.map];
  refuseOthers(cluster, allowedInCluster, what);
  refuseOthers(user, allowedInUser, what);
  return {
    server: serverOf(cluster, what),
    ca: pem(cluster, "certificate-authority-data", what),
    serverName: serverNameOf(cluster, what),
    credentials: credentialsOf(user, what),
  };
}

function refuseOthers(map: JsonMap, allowed: ReadonlySet<string>, what: string): void {
  for (const [key, value] of Object.entries(map)) {
    if (allowed.has(key) || value === null || value === false || value === "") continue;
    const why = Object.hasOwn(whyRefused, key) ? whyRefused[key] : undefined;
    const message =
      why ??
      `has a field that is not on the allow-list (${key.slice(0, 40).replace(/[^\w.-]/g, "?")})`;
    throw new CapitanError("KubeconfigRefused", `${what}: the kubeconfig ${message}`);
  }
}

function serverOf(cluster: JsonMap, what: string): string {
  const url = URL.parse(asString(cluster["server"]) ?? "");
  if (url === null || url.hostname === "") throw invalid(what, "has no usable server URL");
  if (url.protocol !== "https:") {
    throw new CapitanError(
      "KubeconfigRefused",
      `${what}: the kubeconfig wants to go without TLS (server is not https)`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw invalid(what, "has a server URL with more than host, port and path");
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function serverNameOf(cluster: JsonMap, what: string): string | undefined {
  const name = cluster["tls-server-name"];
  if (name === undefined || name === "") return undefined;
  if (typeof name !== "string" || !/^[A-Za-z0-9.:-]{1,253}$/.test(name))
    throw invalid(what, "has an unusable tls-server-name");
  return name;
}

function credentialsOf(user: JsonMap, what: string): Credentials {
  const cert = pem(user, "client-certificate-data", what);
  const key = pem(user, "client-key-data", what);
  if ((cert === undefined) !== (key === undefined))
    throw invalid(what, "has a client certificate without a key, or the reverse");
  const certificate = cert !== undefined && key !== undefined ? { certificate: { cert, key } } : {};
  const authorization = authorizationOf(user, what);
  if (authorization === undefined) {
    if (cert === undefined) throw invalid(what, "has no credentials");
    return certificate;
  }
  return { ...certificate, authorization: () => Promise.resolve(authorization) };
}

const headerSafe = /^[\x21-\x7e]{1,65536}$/;

function authorizationOf(user: JsonMap, what: string): string | undefined {
  const token = asString(user["token"]) ?? "";
  if (token !== "") {
    if (!headerSafe.test(token)) throw invalid(what, "has an unusable token");
    return `Bearer ${token}`;
  }
  const username = asString(user["username"]) ?? "";
  if (username === "") return undefined;
  return `Basic ${Buffer.from(`${username}:${asString(user["password"]) ?? ""}`, "utf8").toString("base64")}`;
}

function pem(map: JsonMap, field: string, what: string): string | undefined {
  const data = map[field];
  if (data === undefined || data === null || data === "") return undefined;
  const text = typeof data === "string" ? Buffer.from(data, "base64").toString("latin1") : "";
  if (!text.includes("-----BEGIN ")) throw invalid(what, `has ${field} that is not PEM in base64`);
  return text;
}

const invalid = (what: string, message: string) =>
  new CapitanError("KubeconfigInvalid", `${what}: the kubeconfig ${message}`);

/** When the client certificate ends to be valid; undefined when there is none, or none that can be read. */
export function expiryOf({ credentials }: ConnectionConfig): Date | undefined {
  const pem = credentials.certificate?.cert;
  if (pem === undefined) return undefined;
  try {
    const expiry = new Date(new X509Certificate(pem).validTo);
    return Number.isNaN(expiry.getTime()) ? undefined : expiry;
  } catch {
    // Whoever dials with it is told what is wrong.
    return undefined;
  }
}
