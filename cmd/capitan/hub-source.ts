import { hubResources } from "../../pkg/api/index.ts";
import { CapitanError, isCapitanError } from "../../pkg/errors/index.ts";
import type { Tip } from "../../pkg/git/index.ts";
import {
  formatGitUrl,
  formatHostKeys,
  hostKeysOf,
  parseGitSecret,
  parseGitUrl,
  type GitLocation,
} from "../../pkg/gitdata/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { platformName, platformPath, type HubSource } from "./bootstrap-files.ts";
import { newDeployKey } from "./deploy-key.ts";
import { openGit, type FleetRepository } from "./fleet-repository.ts";
import { caOf, knownHostsOf, type LoginArguments } from "./git-login.ts";

export const sourceSecret = "platform-git";

export type SourceArguments = LoginArguments & { readonly "hub-url"?: string | undefined };

/**
 * How the hub reads the repository: as `platform.yaml` says, once there is one; else by `--hub-url`, or
 * by the repository's own URL when that is SSH or lets everybody read; else by SSH with a deploy key.
 */
export async function hubSourceOf(
  repository: FleetRepository,
  tip: Tip | undefined,
  args: SourceArguments,
): Promise<HubSource> {
  const text = tip?.files.get(platformPath)?.toString("utf8");
  if (text !== undefined) return sourceIn(text, repository.url);
  const wanted = args["hub-url"];
  const location = wanted === undefined ? repository.location : parseGitUrl(wanted, undefined);
  const url = formatGitUrl(location);
  if (location.scheme === "ssh" || hubToken() !== "") return { url, secret: sourceSecret };
  const ca = await caOf(args);
  const secret = ca === undefined ? undefined : sourceSecret;
  if (await isOpen(location, ca, repository.branch)) return { url, secret };
  if (wanted === undefined) return { url: formatGitUrl(bySsh(location)), secret: sourceSecret };
  throw new CapitanError(
    "GitDenied",
    `${url} is not readable by everybody: set CAPITAN_HUB_GIT_TOKEN to a token that may only read, or use an ssh:// URL`,
  );
}

/** For servers without deploy keys, or whose SSH the hub cannot reach. */
const hubToken = () => process.env["CAPITAN_HUB_GIT_TOKEN"] ?? "";

/** Where the same repository is for deploy keys, on the servers that people have. */
const bySsh = (location: GitLocation): GitLocation => ({
  ...location,
  scheme: "ssh",
  port: 22,
  user: "git",
});

/** What the platform Fleet in the repository reads. */
function sourceIn(text: string, what: string): HubSource {
  const fleets = parseManifests(text, platformPath).filter(({ kind }) => kind === "Fleet");
  for (const layer of fleets.flatMap(({ spec }) => asList(asMap(spec)["layers"]))) {
    const git = asMap(asMap(layer)["git"]);
    const url = asString(git["url"]);
    if (url !== undefined) return { url, secret: asString(asMap(git["secretRef"])["name"]) };
  }
  throw new CapitanError("FileInvalid", `${what}: ${platformPath} has no Fleet with a git layer`);
}

async function isOpen(
  location: GitLocation,
  ca: string | undefined,
  branch: string,
): Promise<boolean> {
  const git = openGit(location, { credentials: { ca }, what: "nobody" });
  try {
    await git.tip(branch, AbortSignal.timeout(60_000));
    return true;
  } catch (error) {
    const isClosed =
      isCapitanError(error) && (error.code === "GitDenied" || error.code === "GitNotFound");
    if (isClosed) return false;
    throw error;
  }
}

/** The Secret by which the hub reads, made when there is none. `publicKey` is that of a deploy key. */
export async function ensureSourceSecret(
  hub: KubeClient,
  namespace: string,
  source: HubSource,
  args: SourceArguments,
): Promise<{ readonly isNew: boolean; readonly publicKey: string | undefined }> {
  if (source.secret === undefined) return { isNew: false, publicKey: undefined };
  const name = { namespace, name: source.secret };
  const held = asMap((await hub.get(hubResources.secret, name))?.["data"]);
  const isThere = Object.keys(held).length > 0;
  const data = isThere ? held : encoded(await secretValues(source, args));
  const metadata = { ...name, labels: { "clusterctl.cluster.x-k8s.io/move": "" } };
  const secret = { apiVersion: "v1", kind: "Secret", type: "Opaque", metadata, data };
  if (!isThere) await hub.create(hubResources.secret, secret, {});
  const publicKey = asString(data["identity.pub"]);
  return {
    isNew: !isThere,
    publicKey:
      publicKey === undefined ? undefined : Buffer.from(publicKey, "base64").toString().trim(),
  };
}

/** In Flux's form. The private half of a deploy key is nowhere else. */
async function secretValues(
  { url }: HubSource,
  args: SourceArguments,
): Promise<Readonly<Record<string, string>>> {
  const location = parseGitUrl(url, undefined);
  if (location.scheme === "ssh") {
    const known_hosts = await hostKeysFor(location, args);
    const key = newDeployKey(`capitan ${platformName}`);
    return { identity: key.private, "identity.pub": `${key.public}\n`, known_hosts };
  }
  const ca = await caOf(args);
  const token = hubToken();
  return {
    ...(ca === undefined ? {} : { "ca.crt": ca }),
    ...(token === "" ? {} : { username: "git", password: token }),
  };
}

async function hostKeysFor(location: GitLocation, args: SourceArguments): Promise<string> {
  const keys = hostKeysOf(await knownHostsOf(args), location, "known_hosts");
  if (keys.trusted.length > 0) return formatHostKeys(keys, location);
  const { host, port } = location;
  throw new CapitanError(
    "HostKeyRefused",
    `known_hosts has no key of ${host}: ssh-keyscan -p ${port} ${host} shows it; compare it, and put it into ~/.ssh/known_hosts`,
  );
}

const encoded = (values: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    Object.entries(values).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
  );

/** Whether the hub's own credentials let it read the branch now: undefined when the server does not answer. */
export async function canHubRead(
  hub: KubeClient,
  namespace: string,
  { url, secret }: HubSource,
  branch: string,
): Promise<boolean | undefined> {
  const location = parseGitUrl(url, undefined);
  const what = `Secret ${namespace}/${secret ?? ""}`;
  const name = { namespace, name: secret ?? "" };
  const held = secret === undefined ? undefined : await hub.get(hubResources.secret, name);
  const credentials = held === undefined ? {} : parseGitSecret(held["data"], location, what);
  try {
    await openGit(location, { credentials, what }).resolve({ branch });
    return true;
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return error.code === "GitUnreachable" ? undefined : false;
  }
}
