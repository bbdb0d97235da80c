import { readFile } from "node:fs/promises";

/** Capitan's version, with a leading v. */
export async function ownVersion(): Promise<string> {
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  return `v${(JSON.parse(text) as { version: string }).version}`;
}
