import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { publicPart, unifiedDiff, type FileChange } from "../../pkg/clustertemplate/index.ts";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import type { Proposal, Tip } from "../../pkg/git/index.ts";
import { isEncrypted } from "../../pkg/sops/index.ts";
import {
  fleetRepository,
  repositoryOptions,
  type FleetRepository,
  type Pushed,
  type RepositoryArguments,
} from "./fleet-repository.ts";
import { progress } from "./progress.ts";
import { isYamlPath } from "./templates.ts";
import { clean } from "./text.ts";

/** Options of every command that changes clusters in a fleet repository. */
export const commitOptions = {
  ...repositoryOptions,
  "dry-run": {
    type: "boolean",
    default: false,
    describe: "Show the change, with secrets masked, and make no commit",
  },
} as const;

export type CommitArguments = RepositoryArguments & {
  readonly "dry-run": boolean;
  /** A directory that the files are written to, and no commit is made. */
  readonly output?: string | undefined;
};

/** The YAML files of a repository, by their path. */
export type RepositoryFiles = ReadonlyMap<string, string>;

/** What is to be committed. */
export type PlannedCommit = { readonly changes: readonly FileChange[]; readonly message: string };

/** What is to be committed on top of these files; undefined when nothing is to change. */
export type Plan = (files: RepositoryFiles) => Promise<PlannedCommit | undefined>;

/** A fleet repository and its files as the remote has them; nothing is read from a clone. */
export type OpenRepository = {
  readonly repository: FleetRepository;
  readonly files: RepositoryFiles;
};

/** Opens the fleet repository that the arguments name. */
export async function openRepository(args: CommitArguments): Promise<OpenRepository> {
  const repository = await fleetRepository(args);
  progress(`reading ${repository.url}`);
  return { repository, files: await filesNow(repository) };
}

/** The YAML files as the remote has them now. */
export async function filesNow(
  repository: FleetRepository,
  signal?: AbortSignal,
): Promise<RepositoryFiles> {
  return textsIn(await repository.tip(signal));
}

/** Shows a change and makes it: where the arguments say, until `signal` gives it up. Undefined when nothing was committed. */
export async function commit(
  { repository, files }: OpenRepository,
  args: CommitArguments,
  plan: Plan,
  signal?: AbortSignal,
): Promise<Pushed | undefined> {
  const planned = await plan(files);
  if (planned === undefined) return undefined;
  const diff = clean(planned.changes.map(shownChange).join(""));
  if (args["dry-run"]) return void process.stdout.write(diff);
  process.stderr.write(diff);
  if (args.output !== undefined) {
    await writeOut(args.output, planned.changes);
    return undefined;
  }
  progress(`committing to branch ${repository.branch}`);
  return repository.publish(async (tip) => proposed(await plan(textsIn(tip))), signal);
}

function proposed(planned: PlannedCommit | undefined): Proposal | undefined {
  if (planned === undefined) return undefined;
  const edits = planned.changes.map(({ path, after }) => ({
    path,
    content: after === undefined ? undefined : Buffer.from(after),
  }));
  return { edits, message: planned.message };
}

function textsIn(tip: Tip | undefined): RepositoryFiles {
  const yaml = [...(tip?.files ?? [])].filter(([path]) => isYamlPath(path));
  return new Map(yaml.map(([path, content]) => [path, content.toString("utf8")]));
}

/** A change as people are shown it: of encrypted files without ciphertexts. */
export function shownChange({ path, before, after }: FileChange): string {
  return unifiedDiff(path, shownText(before), shownText(after));
}

function shownText(text: string | undefined): string | undefined {
  if (text === undefined || !isEncrypted(Buffer.from(text), "yaml")) return text;
  return `# encrypted\n${publicPart(text)}`;
}

/** Where the change is now, and what comes next. */
export function said(
  what: string,
  { commit, branch, clone }: Pushed,
  { settings }: FleetRepository,
): string {
  const next =
    branch === settings.branch
      ? "the hub takes it over with its next look; at once by: capitan reconcile fleet platform"
      : `have ${branch} merged into ${settings.branch}`;
  const behind =
    clone?.kind === "left"
      ? `  → your clone was left as it is (${clone.why}): ${clone.type}\n`
      : "";
  return clean(`✔ ${what}: commit ${commit.slice(0, 12)} on ${branch}\n  → ${next}\n${behind}`);
}

/**
 * What is there already and is not what the change began from stays as it is: all is looked at before
 * the first file is written. Throws FileInvalid.
 */
async function writeOut(directory: string, changes: readonly FileChange[]): Promise<void> {
  const files: { readonly file: string; readonly after: string; readonly isNew: boolean }[] = [];
  for (const { path, before, after } of changes) {
    if (after === undefined) continue;
    const file = join(directory, path);
    const found = await textIn(file);
    const isExpected = found === undefined || found === before || found === after;
    if (!isExpected) throw new CapitanError("FileInvalid", inTheWay(file, before));
    files.push({ file, after, isNew: found === undefined });
  }
  try {
    for (const { file, after, isNew } of files) {
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, after, { flag: isNew ? "wx" : "w" });
      process.stdout.write(`${file}\n`);
    }
  } catch (error) {
    throw new CapitanError("FileInvalid", messageOf(error), { cause: error });
  }
}

function inTheWay(file: string, before: string | undefined): string {
  const what =
    before === undefined || before === ""
      ? "is there already"
      : "is not as in the fleet repository";
  return `${file} ${what}, and would be written over; commit and push it, or move it away, and say it again: nothing was written`;
}

/** Undefined when there is no such file. */
function textIn(file: string): Promise<string | undefined> {
  return readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new CapitanError("FileInvalid", messageOf(error), { cause: error });
  });
}
