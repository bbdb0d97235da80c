import { readFile } from "node:fs/promises";
import type { Options } from "yargs";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import {
  GitRepository,
  PackCache,
  type PublishRequest,
  type Published,
  type Tip,
} from "../../pkg/git/index.ts";
import { formatGitUrl, parseGitUrl, type GitLocation } from "../../pkg/gitdata/index.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { bringForward, isSame, type Forwarded } from "./git-clone.ts";
import { gitLogin, loginOptions, type GitLogin, type LoginArguments } from "./git-login.ts";
import { personOf, personOptions, signerOf, type PersonArguments } from "./git-person.ts";
import { nearestFile } from "./nearest-file.ts";
import { parseRepositoryFile, repositoryFile, type RepositorySettings } from "./repository-file.ts";

const timeoutMs = 600_000;
const branchDefault = "main";

/** Options of every command that works on the fleet repository. */
export const repositoryOptions = {
  repo: {
    type: "string",
    describe: `URL of the fleet repository; the one of the nearest ${repositoryFile} when not set`,
  },
  branch: {
    type: "string",
    describe: "Branch to push to, made when it does not exist; the repository's own when not set",
  },
  ...loginOptions,
  ...personOptions,
} as const satisfies Record<string, Options>;

export type RepositoryArguments = LoginArguments &
  PersonArguments & { readonly repo?: string | undefined; readonly branch?: string | undefined };

type Propose = PublishRequest["propose"];

/** What a push came to. `clone` is missing where no clone of the repository is around. */
export type Pushed = Published & {
  readonly branch: string;
  readonly clone?: Forwarded | undefined;
};

type How = {
  /** The branch that another one begins at. */
  readonly from?: string;
  readonly signal?: AbortSignal | undefined;
};

/** No longer than a repository may take, and until somebody gives it up. */
function inTime(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
}

/** A repository as the person at the terminal sees it: with their credentials, their name, their clone. */
class OwnRepository {
  readonly url: string;
  readonly location: GitLocation;
  readonly #args: RepositoryArguments;
  readonly #login: GitLogin;
  readonly #git: GitRepository;
  private constructor(location: GitLocation, login: GitLogin, args: RepositoryArguments) {
    this.url = formatGitUrl(location);
    this.location = location;
    this.#args = args;
    this.#login = login;
    this.#git = openGit(location, login);
  }

  /** Throws RefInvalid, FileInvalid, GitDenied. */
  static async open(url: string, args: RepositoryArguments): Promise<OwnRepository> {
    const location = parseGitUrl(url, undefined);
    return new OwnRepository(location, await gitLogin(location, args), args);
  }

  /** The tip of a branch; of `from` where there is no such branch. */
  tip(branch: string, { from, signal: given }: How = {}): Promise<Tip | undefined> {
    const signal = inTime(given);
    return this.#login.using(async () => {
      const tip = await this.#git.tip(branch, signal);
      return tip ?? (from === undefined ? undefined : this.#git.tip(from, signal));
    });
  }

  /**
   * One commit by the person, pushed; then the clone that we are in is brought forward, if that loses
   * nothing. Undefined when there was nothing to change. Throws as `GitRepository.publish`.
   */
  async publish(
    branch: string,
    propose: Propose,
    { from, signal }: How = {},
  ): Promise<Pushed | undefined> {
    const author = await personOf(this.#args);
    const sign = await signerOf(this.#args);
    const published = await this.#login.using(() =>
      this.#git.publish({ branch, from, propose, author, sign, now: new Date() }, inTime(signal)),
    );
    if (published === undefined) return undefined;
    const env = loginEnvironment(this.url, this.#login);
    const where = { location: this.location, branch, commit: published.commit, env };
    return { ...published, branch, clone: await bringForward(process.cwd(), where) };
  }
}

/** A repository, as whoever has these credentials sees it. */
export function openGit(
  location: GitLocation,
  { credentials, what }: Pick<GitLogin, "credentials" | "what">,
): GitRepository {
  return new GitRepository(location, {
    credentials,
    insecure: undefined,
    secret: what,
    namespace: "cli",
    cache: new PackCache(cacheDirectory(), () => undefined),
  });
}

/** The person's own git, told by its environment, which nobody else sees, what we logged in with. */
function loginEnvironment(
  url: string,
  { credentials }: GitLogin,
): Readonly<Record<string, string>> {
  const { authorization } = credentials;
  if (authorization === undefined) return {};
  return {
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: `http.${url}.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: ${authorization}`,
  };
}

/** The fleet repository that a command works on. */
export type FleetRepository = {
  readonly url: string;
  readonly location: GitLocation;
  readonly settings: RepositorySettings;
  /** Where its commits go. */
  readonly branch: string;
  tip(signal?: AbortSignal): Promise<Tip | undefined>;
  publish(propose: Propose, signal?: AbortSignal): Promise<Pushed | undefined>;
};

/** What a repository is that has no `.capitan.yaml` yet. */
export type Beginning = Omit<RepositorySettings, "url">;

/**
 * The fleet repository: the one in `--repo`, else that of the `.capitan.yaml` here or above. Its
 * settings are in that file, here or in the repository; `beginning` is for one that has none. Throws
 * FileInvalid where nothing says which repository, or what it is.
 */
export async function fleetRepository(
  args: RepositoryArguments,
  beginning?: Beginning,
): Promise<FleetRepository> {
  const local = await localSettings();
  const url = args.repo ?? local?.url;
  if (url === undefined) throw noRepository();
  const repository = await OwnRepository.open(url, args);
  const isHere = local !== undefined && isSame(local.url, repository.location);
  const settings = isHere ? local : await remoteSettings(repository, beginning);
  const branch = args.branch ?? settings.branch;
  return {
    url: repository.url,
    location: repository.location,
    settings,
    branch,
    tip: (signal) => repository.tip(branch, { from: settings.branch, signal }),
    publish: (propose, signal) =>
      repository.publish(branch, propose, { from: settings.branch, signal }),
  };
}

/** Nothing says which repository is meant. */
export const noRepository = () =>
  new CapitanError(
    "FileInvalid",
    `there is no ${repositoryFile} here or above; go into a clone of the fleet repository, or say --repo URL`,
  );

/** The `.capitan.yaml` here or above. Throws FileInvalid, ManifestInvalid. */
export async function localSettings(): Promise<RepositorySettings | undefined> {
  const path = await nearestFile(repositoryFile);
  if (path === undefined) return undefined;
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new CapitanError("FileInvalid", messageOf(error));
  });
  return parseRepositoryFile(text, path);
}

async function remoteSettings(
  repository: OwnRepository,
  beginning: Beginning | undefined,
): Promise<RepositorySettings> {
  const branch = beginning?.branch ?? branchDefault;
  const tip = await repository.tip(branch);
  const what = `${repository.url}: ${repositoryFile} of branch ${branch}`;
  const file = tip?.files.get(repositoryFile);
  if (file !== undefined) return parseRepositoryFile(file.toString("utf8"), what);
  if (beginning !== undefined) return { ...beginning, url: repository.url };
  throw new CapitanError("FileInvalid", `${what} does not exist; capitan bootstrap makes it`);
}
