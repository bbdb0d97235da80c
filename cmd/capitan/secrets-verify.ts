import type { CommandModule } from "yargs";
import { isCapitanError } from "../../pkg/errors/index.ts";
import { SopsError, verifyFile } from "../../pkg/sops/index.ts";
import { progress } from "./progress.ts";
import {
  asSops,
  pathsOption,
  secretFiles,
  secretOptions,
  type FileArguments,
  type SecretFile,
} from "./secret-files.ts";
import { ownIdentities } from "./secret-keys.ts";
import { clean, outputOption, printed } from "./text.ts";

type Arguments = FileArguments & {
  readonly path: string[];
  readonly strict: boolean;
  readonly output: string;
};

type Verdict = {
  readonly file: string;
  readonly ok: boolean;
  readonly code?: string;
  readonly message?: string;
  readonly status: number;
};

/** `capitan secrets verify PATH...` */
export const secretsVerify: CommandModule<object, Arguments> = {
  command: "verify <path..>",
  describe: "Open files and verify every value and the MAC, without showing anything",
  builder: (y) =>
    y
      .positional("path", pathsOption)
      .options({
        strict: { type: "boolean", default: true, describe: "Also refuse what sops lets pass" },
        ...secretOptions,
        ...outputOption,
      })
      .example("$0 secrets verify .", "For CI: exit 0 when every encrypted file is sound"),
  handler: (args) => asSops(() => verify(args)),
};

async function verify(args: Arguments): Promise<void> {
  const identities = await ownIdentities();
  const verdicts: Verdict[] = [];
  for await (const file of secretFiles(args.path, args)) {
    progress(`verifying ${file.path}`);
    verdicts.push(
      await verdictOf(file, () =>
        verifyFile(file.bytes, { ...file, identities, strict: args.strict }),
      ),
    );
  }
  const bad = verdicts.find(({ ok }) => !ok);
  const shown = verdicts.map(({ status: _, ...verdict }) => verdict);
  process.stdout.write(printed(shown, args.output, () => verdicts.map(lineOf).join("")));
  if (bad !== undefined) process.exitCode = bad.status;
}

async function verdictOf({ path }: SecretFile, work: () => Promise<unknown>): Promise<Verdict> {
  try {
    await work();
    return { file: path, ok: true, status: 0 };
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    const status = error instanceof SopsError ? error.status : 1;
    return { file: path, ok: false, code: error.code, message: error.message, status };
  }
}

const lineOf = ({ file, ok, code, message }: Verdict) =>
  ok ? `✔ ${clean(file)}\n` : `✗ ${clean(file)}: ${code}: ${clean(message ?? "")}\n`;
