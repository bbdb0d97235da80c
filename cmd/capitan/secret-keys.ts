import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../../pkg/errors/index.ts";
import { parseIdentities, SopsError, type Chance, type Identity } from "../../pkg/sops/index.ts";

const commandTimeoutMs = 60_000;

/** The operating system's randomness, and its clock. */
export const chance: Chance = { random: randomBytes, now: () => new Date() };

/**
 * All identities that sops would use: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, SOPS_AGE_KEY_CMD and
 * sops/age/keys.txt of the user's configuration. Throws SopsKeyMissing when there is none,
 * IdentityInvalid for a line that is none.
 */
export async function ownIdentities(): Promise<readonly Identity[]> {
  const sources = [...inlineKeys(), ...(await keyFiles()), ...(await keyCommand())];
  const all = await Promise.all(sources.map(({ text, where }) => parseIdentities(text, where)));
  const identities = all.flat();
  if (identities.length > 0) return identities;
  throw new SopsError(
    "SopsKeyMissing",
    128,
    "no identity: set SOPS_AGE_KEY_FILE or SOPS_AGE_KEY, or write sops/age/keys.txt",
  );
}

type KeySource = { readonly text: string; readonly where: string };

function inlineKeys(): readonly KeySource[] {
  const keys = process.env["SOPS_AGE_KEY"] ?? "";
  // As with sops, blanks part keys in the variable.
  return keys === ""
    ? []
    : [{ text: keys.trim().replaceAll(/[ \t]+/g, "\n"), where: "SOPS_AGE_KEY" }];
}

async function keyFiles(): Promise<readonly KeySource[]> {
  const named = process.env["SOPS_AGE_KEY_FILE"] ?? "";
  const config = process.env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config");
  const usual = join(config, "sops", "age", "keys.txt");
  const found = await readFile(usual, "utf8").catch(() => undefined);
  return [
    ...(named === "" ? [] : [{ text: await readNamed(named), where: named }]),
    ...(found === undefined ? [] : [{ text: found, where: usual }]),
  ];
}

async function readNamed(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    throw new SopsError("IdentityInvalid", 128, `SOPS_AGE_KEY_FILE: ${messageOf(error)}`);
  });
}

/** The person's own command, from the person's own environment. What it prints is never shown. */
async function keyCommand(): Promise<readonly KeySource[]> {
  const [program, ...args] = (process.env["SOPS_AGE_KEY_CMD"] ?? "").split(/\s+/).filter(Boolean);
  if (program === undefined) return [];
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: commandTimeoutMs });
    return [{ text: stdout, where: "SOPS_AGE_KEY_CMD" }];
  } catch {
    throw new SopsError("IdentityInvalid", 128, `SOPS_AGE_KEY_CMD: ${program} failed`);
  }
}
