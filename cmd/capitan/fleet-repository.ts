import { access, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Options } from "yargs";
import type { FileChange } from "../../pkg/clustertemplate/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { GitRepository, PackCache, type Published, type Tip } from "../../pkg/git/index.ts";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { parseYaml } from "../../pkg/object/index.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { progress } from "./progress.ts";
import { textsOf } from "./templates.ts";

/** Options of every command that works on a fleet repository. */
export const repositoryOptions = {
  repo: {
    type: "string",
    describe: "URL of the fleet repository; .capitan.yaml of the clone says which when not set",
  },
} as const satisfies Record<string, Options>;

export type RepositoryArguments = { readonly repo?: string | undefined };

/** What `.capitan.yaml` says: where things are. */
export type Settings = {
  readonly url: string;
  readonly branch: string;
  /** Directories. */
  readonly templates: string;
  readonly clusters: string;
  /** Of the Clusters on the hub. */
  readonly namespace: string;
};

/** The YAML files of a repository, by their path. */
export type RepositoryFiles = ReadonlyMap<string, string>;

type Planned = { readonly changes: readonly FileChange[]; readonly message: string };

/** A fleet repository, as the remote has it: nothing is read from or written to a clone. */
export type FleetRepository = {
  readonly settings: Settings;
  /** As the settings' branch has them. */
  files(): Promise<RepositoryFiles>;
  /** One commit on a branch, which begins at the settings' one; `plan` is asked again when others were faster. */
  publish(
    branch: string | undefined,
    plan: (files: RepositoryFiles) => Promise<Planned | undefined>,
  ): Promise<Published | undefined>;
  close(): Promise<void>;
};

const fileName = ".capitan.yaml";
const parentsMax = 100;

/** Opens the repository of `--repo`, or of the clone that one is in. Throws FileInvalid, RefInvalid. */
export async function openFleetRepository({ repo }: RepositoryArguments): Promise<FleetRepository> {
  const clone = repo === undefined ? await nearestSettings() : undefined;
  const url = repo ?? clone?.url;
  if (url === undefined)
    throw new CapitanError("FileInvalid", `no ${fileName} here or above: say --repo URL`);
  const stop = new AbortController();
  const git = new GitRepository(parseGitUrl(url, undefined), {
    credentials: {},
    insecure: undefined,
    namespace: "",
    secret: "",
    cache: new PackCache(cacheDirectory(), () => undefined),
  });
  const branch = clone?.branch ?? "main";
  const tip = await git.tip(branch, stop.signal);
  const settings = clone ?? settingsOf(textsIn(tip).get(fileName) ?? "", `${url}: ${fileName}`);
  return {
    settings: { ...settings, url },
    files: () => Promise.resolve(textsIn(tip)),
    publish: (other, plan) => {
      progress(`committing to ${other ?? settings.branch} of ${url}`);
      return git.publish(
        {
          branch: other ?? settings.branch,
          from: settings.branch,
          author: author(),
          now: new Date(),
          propose: async (now) => proposed(await plan(textsIn(now))),
        },
        stop.signal,
      );
    },
    close: () => Promise.resolve(stop.abort()),
  };
}

function author() {
  const { GIT_AUTHOR_NAME: name = "", GIT_AUTHOR_EMAIL: email = "" } = process.env;
  return { name, email };
}

function proposed(planned: Planned | undefined) {
  if (planned === undefined) return undefined;
  const edits = planned.changes.map(({ path, after }) => ({
    path,
    content: after === undefined ? undefined : Buffer.from(after),
  }));
  return { edits, message: planned.message };
}

function textsIn(tip: Tip | undefined): RepositoryFiles {
  const files = [...(tip?.files ?? [])].map(([path, content]) => [path, { content }] as const);
  return textsOf(new Map(files));
}

async function nearestSettings(): Promise<Settings | undefined> {
  let directory = process.cwd();
  for (let i = 0; i < parentsMax; i++) {
    const path = join(directory, fileName);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return settingsOf(await readFile(path, "utf8"), path);
    if (dirname(directory) === directory) return undefined;
    directory = dirname(directory);
  }
  return undefined;
}

/** Reads a `.capitan.yaml`. Throws FileInvalid, ManifestInvalid. */
function settingsOf(text: string, where: string): Settings {
  const value = asMap(parseYaml(text, where));
  if (value["kind"] !== "Repository")
    throw new CapitanError("FileInvalid", `${where} is no Repository of capitan.dev/v1alpha1`);
  const said = (name: string, otherwise: string) => asString(value[name]) ?? otherwise;
  const directory = (name: string, otherwise: string) =>
    said(name, otherwise).replace(/^\.\//, "").replace(/\/+$/, "");
  return {
    url: said("url", ""),
    branch: said("branch", "main"),
    templates: directory("templates", "management/templates"),
    clusters: directory("clusters", "management/clusters"),
    namespace: said("namespace", "fleet"),
  };
}
