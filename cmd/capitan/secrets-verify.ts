import { basename } from "node:path";
import type { CommandModule } from "yargs";
import { isCapitanError } from "../../pkg/errors/index.ts";
import { canaryName } from "../../pkg/rotation/index.ts";
import {
  checkSealed,
  isEncrypted,
  SopsError,
  verifyFile,
  type FileRecipients,
} from "../../pkg/sops/index.ts";
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
import {
  configOptions,
  findConfig,
  ruleIfAny,
  type ConfigArguments,
  type FoundConfig,
} from "./sops-config.ts";
import { clean, outputOption, printed } from "./text.ts";

type Arguments = FileArguments &
  ConfigArguments & {
    readonly path: string[];
    readonly strict: boolean;
    readonly "without-key": boolean;
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
        "without-key": {
          type: "boolean",
          default: false,
          describe:
            "Check what needs no key: metadata, that values are encrypted, and that .sops.yaml is followed",
        },
        ...secretOptions,
        ...configOptions,
        ...outputOption,
      })
      .example("$0 secrets verify .", "Exit 0 when every encrypted file is sound")
      .example("$0 secrets verify --without-key .", "For CI, which has no key"),
  handler: (args) => asSops(() => verify(args)),
};

async function verify(args: Arguments): Promise<void> {
  const verdicts: Verdict[] = [];
  for await (const [file, check] of args["without-key"] ? withoutKey(args) : withKeys(args)) {
    progress(`verifying ${file.path}`);
    verdicts.push(await verdictOf(file, check));
  }
  const bad = verdicts.find(({ ok }) => !ok);
  const shown = verdicts.map(({ status: _, ...verdict }) => verdict);
  process.stdout.write(printed(shown, args.output, () => verdicts.map(lineOf).join("")));
  if (bad !== undefined) process.exitCode = bad.status;
}

const canaryFile = `${canaryName.name}.sops.yaml`;

type Check = readonly [file: SecretFile, check: () => unknown];

async function* withKeys(args: Arguments): AsyncGenerator<Check> {
  const identities = await ownIdentities();
  for await (const file of secretFiles(args.path, args))
    yield [file, () => verifyFile(file.bytes, { ...file, identities, strict: args.strict })];
}

/** Also files in plaintext that a rule names. */
async function* withoutKey(args: Arguments): AsyncGenerator<Check> {
  const found = await findConfig(args);
  const wanted = ({ bytes, format, path }: SecretFile) =>
    isEncrypted(bytes, format) || ruleIfAny(found, path) !== undefined;
  for await (const file of secretFiles(args.path, args, wanted))
    yield [file, () => followsRule(checkSealed(file.bytes, file.format), found, file.path)];
}

/** A file has the recipients of its rule, no more and no less; a rotation's canary has one of them. Throws SopsConfigInvalid. */
function followsRule(file: FileRecipients, found: FoundConfig | undefined, path: string): void {
  const rule = ruleIfAny(found, path);
  if (rule === undefined) return;
  const [only, ...others] = file.groups.flat();
  const isCanary = basename(path) === canaryFile && others.length === 0 && only !== undefined;
  if (isCanary && file.foreign.length === 0 && rule.groups.flat().includes(only)) return;
  const setOf = (groups: readonly (readonly string[])[]) =>
    JSON.stringify(groups.map((group) => [...group].sort()).sort());
  if (file.foreign.length === 0 && setOf(file.groups) === setOf(rule.groups)) return;
  const message = "its recipients are not those of .sops.yaml: capitan secrets updatekeys";
  throw new SopsError("SopsConfigInvalid", 1, message);
}

async function verdictOf({ path }: SecretFile, work: () => unknown): Promise<Verdict> {
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
