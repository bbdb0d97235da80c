import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { publicPart, unifiedDiff, type FileChange } from "../../pkg/clustertemplate/index.ts";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import { isEncrypted } from "../../pkg/sops/index.ts";
import { openFleetRepository, repositoryOptions } from "./fleet-repository.ts";
import type { FleetRepository, RepositoryArguments, RepositoryFiles } from "./fleet-repository.ts";
import { clean } from "./text.ts";

/** Options of every command that changes clusters in a fleet repository. */
export const commitOptions = {
  ...repositoryOptions,
  "dry-run": {
    type: "boolean",
    default: false,
    describe: "Show the change, with secrets masked, and make no commit",
  },
  branch: {
    type: "string",
    describe: "Commit to this branch, which is made when it is not there, for a pull request",
  },
} as const;

export type CommitArguments = RepositoryArguments & {
  readonly "dry-run": boolean;
  readonly branch?: string | undefined;
  /** A directory that the files are written to, and no commit is made. */
  readonly output?: string | undefined;
};

/** What is to be committed. */
export type PlannedCommit = { readonly changes: readonly FileChange[]; readonly message: string };

/** What is to be committed on top of these files; undefined when nothing is to change. */
export type Plan = (files: RepositoryFiles) => Promise<PlannedCommit | undefined>;

/** Works on the fleet repository that the arguments name, and closes it. */
export async function withFleetRepository<T>(
  args: CommitArguments,
  work: (repository: FleetRepository) => Promise<T>,
): Promise<T> {
  const repository = await openFleetRepository(args);
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}

/** Shows a change and makes it: where the arguments say. Gives what was committed, undefined for nothing. */
export async function commit(
  repository: FleetRepository,
  args: CommitArguments,
  plan: Plan,
): Promise<string | undefined> {
  const planned = await plan(await repository.files());
  if (planned === undefined) return undefined;
  const diff = clean(planned.changes.map(shownChange).join(""));
  if (args["dry-run"]) return void process.stdout.write(diff);
  process.stderr.write(diff);
  if (args.output !== undefined) return void (await writeOut(args.output, planned.changes));
  const published = await repository.publish(args.branch, plan);
  return published?.commit;
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
  id: string,
  { settings }: FleetRepository,
  { branch = settings.branch }: CommitArguments,
): string {
  const next =
    branch === settings.branch
      ? "the hub takes it over with its next look at the repository; at once by: capitan reconcile fleet platform"
      : `have ${branch} merged into ${settings.branch}`;
  return `✔ ${what}: commit ${id.slice(0, 12)} on ${branch}\n  → ${next}\n`;
}

/** New files are never written over others. Throws FileInvalid. */
async function writeOut(directory: string, changes: readonly FileChange[]): Promise<void> {
  try {
    for (const { path, before, after } of changes) {
      if (after === undefined) continue;
      const file = join(directory, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, after, { flag: before === undefined ? "wx" : "w" });
      process.stdout.write(`${file}\n`);
    }
  } catch (error) {
    throw new CapitanError("FileInvalid", messageOf(error), { cause: error });
  }
}
