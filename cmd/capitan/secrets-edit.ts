import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { CommandModule } from "yargs";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";
import { decryptFile, editFile } from "../../pkg/sops/index.ts";
import {
  asSops,
  onFile,
  readSecret,
  replaceFile,
  secretOptions,
  type FileArguments,
} from "./secret-files.ts";
import { chance, ownIdentities } from "./secret-keys.ts";
import { configOptions, findConfig, layoutOf, type ConfigArguments } from "./sops-config.ts";

type Arguments = FileArguments & ConfigArguments & { readonly file: string };

/** sops ends so when the editor left the file as it was. */
const unchangedStatus = 200;

/** `capitan secrets edit FILE` */
export const secretsEdit: CommandModule<object, Arguments> = {
  command: "edit <file>",
  describe: "Edit a file in $SOPS_EDITOR or $EDITOR; what stays the same keeps its bytes",
  builder: (y) =>
    y
      .positional("file", { type: "string", demandOption: true, describe: "Encrypted file" })
      .options({ ...secretOptions, ...configOptions }),
  handler: (args) => asSops(() => edit(args)),
};

async function edit(args: Arguments): Promise<void> {
  const { path, bytes, format } = await readSecret(args.file, args);
  const layout = layoutOf(await findConfig(args));
  const options = { format, layout, identities: await ownIdentities() };
  const { plaintext } = await onFile(path, () => decryptFile(bytes, options));
  const edited = await inMemoryFile(basename(path), plaintext, runEditor);
  const { file, changed } = await onFile(path, () =>
    editFile(bytes, { ...options, plaintext: edited }, chance),
  );
  if (changed) await replaceFile(path, file);
  else process.exitCode = unchangedStatus;
}

/**
 * Runs `work` on a file that only we may read, in memory where the system has a place for that, and
 * takes it away whatever happens. A kill leaves nothing on a disk then.
 */
async function inMemoryFile(
  name: string,
  content: Buffer,
  work: (path: string) => Promise<void>,
): Promise<Buffer> {
  const directory = await mkdtemp(join(await memoryDirectory(), "capitan-"));
  const path = join(directory, name);
  const end = (signal: NodeJS.Signals) =>
    void rm(directory, { recursive: true, force: true }).finally(() =>
      process.kill(process.pid, signal),
    );
  const signals = ["SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, end);
  try {
    await writeFile(path, content, { mode: 0o600, flag: "wx" });
    await work(path);
    return await readFile(path);
  } finally {
    await rm(directory, { recursive: true, force: true });
    for (const signal of signals) process.off(signal, end);
  }
}

async function memoryDirectory(): Promise<string> {
  const shared = "/dev/shm";
  return access(shared, constants.W_OK).then(
    () => shared,
    () => tmpdir(),
  );
}

/** The editor may be a command with arguments, as in EDITOR="code --wait". */
async function runEditor(path: string): Promise<void> {
  const editor = process.env["SOPS_EDITOR"] ?? process.env["EDITOR"] ?? "vi";
  const [program = "vi", ...args] = editor.split(/\s+/).filter((word) => word !== "");
  // Ctrl-C belongs to the editor.
  const ignore = () => undefined;
  process.on("SIGINT", ignore);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(program, [...args, path], { stdio: "inherit" });
      child.once("error", (error) => reject(failed(program, messageOf(error))));
      child.once("close", resolve);
    });
    if (code !== 0) throw failed(program, `exit code ${code ?? "none"}`);
  } finally {
    process.off("SIGINT", ignore);
  }
}

const failed = (program: string, why: string) =>
  new CapitanError("FileInvalid", `the editor ${program}: ${why}`);
