import { rm, writeFile, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Options } from "yargs";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { Person } from "../../pkg/git/index.ts";
import { gitSays, runProgram } from "./git-program.ts";
import { clean } from "./text.ts";

/** Options of every command that makes a commit. */
export const personOptions = {
  author: {
    type: "string",
    describe: 'Who makes the commit, "NAME <EMAIL>"; as git knows you when not set',
  },
  sign: {
    type: "boolean",
    describe: "Sign the commit with your SSH key; as commit.gpgsign of git says when not set",
  },
} as const satisfies Record<string, Options>;

export type PersonArguments = {
  readonly author?: string | undefined;
  readonly sign?: boolean | undefined;
};

export type Signer = (payload: Buffer) => Promise<string>;

/** Who makes a commit here: --author, git's environment variables, git's configuration. Throws GitIdentityMissing. */
export async function personOf({ author }: PersonArguments): Promise<Person> {
  if (author !== undefined) return parsePerson(author);
  const name = process.env["GIT_AUTHOR_NAME"] ?? (await gitSays(["config", "user.name"]));
  const email =
    process.env["GIT_AUTHOR_EMAIL"] ??
    (await gitSays(["config", "user.email"])) ??
    process.env["EMAIL"];
  if (name !== undefined && email !== undefined) return { name, email };
  const what = name === undefined ? "name" : "e-mail address";
  throw new CapitanError("GitIdentityMissing", `git does not know your ${what}`);
}

function parsePerson(text: string): Person {
  const [, name, email] = /^([^<>]+) <([^<>\s]+)>$/.exec(text) ?? [];
  if (name !== undefined && email !== undefined) return { name, email };
  throw new CapitanError(
    "GitIdentityMissing",
    `--author ${JSON.stringify(text)} is no NAME <EMAIL>`,
  );
}

/**
 * How the person signs commits; undefined when they do not. Only by SSH (gpg.format=ssh), with the
 * program and the key that git is told to use. Throws GitIdentityMissing.
 */
export async function signerOf({ sign }: PersonArguments): Promise<Signer | undefined> {
  const config = (name: string, type = "path") =>
    gitSays(["config", `--type=${type}`, "--get", name]);
  if (!(sign ?? (await config("commit.gpgsign", "bool")) === "true")) return undefined;
  const format = (await config("gpg.format")) ?? "openpgp";
  if (format !== "ssh")
    throw new CapitanError(
      "GitIdentityMissing",
      `git is told to sign commits by ${clean(format)}; only gpg.format=ssh is done here, or --no-sign`,
    );
  const key = await config("user.signingkey");
  if (key === undefined)
    throw new CapitanError(
      "GitIdentityMissing",
      "git is told to sign commits, and user.signingkey is not set",
    );
  const program = (await config("gpg.ssh.program")) ?? "ssh-keygen";
  return (payload) => signature(program, key, payload);
}

/** As git does it: the key is a file, or the public half of a key in the agent, written out. */
async function signature(program: string, key: string, payload: Buffer): Promise<string> {
  const literal = key.startsWith("key::") ? key.slice("key::".length) : key;
  if (literal === key && !key.startsWith("ssh-")) return signWith(program, ["-f", key], payload);
  const dir = await mkdtemp(join(tmpdir(), "capitan-sign-"));
  try {
    const file = join(dir, "key.pub");
    await writeFile(file, `${literal}\n`, { mode: 0o600 });
    return await signWith(program, ["-U", "-f", file], payload);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function signWith(program: string, key: readonly string[], payload: Buffer): Promise<string> {
  const args = ["-Y", "sign", "-n", "git", ...key];
  const ran = await runProgram(program, args, { input: payload });
  if (ran?.code === 0) return ran.stdout;
  const why = ran === undefined ? "there is no such program" : clean(ran.stderr.trim());
  throw new CapitanError("GitIdentityMissing", `${program} does not sign: ${why}`);
}
