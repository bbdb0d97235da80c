import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { crds } from "../pkg/api/index.ts";
import { codes, type Code } from "../pkg/errors/index.ts";
import { cliPage } from "./cli-page.ts";
import { root } from "./lab/paths.ts";

/** Files that are written from the code, for people who read them without running it. */
async function generatedFiles(): Promise<ReadonlyMap<string, string>> {
  const definitions = crds.map(
    (crd) =>
      [
        `docs/crds/${crd.metadata.name}.yaml`,
        `# Generated from pkg/api by npm run format.\n${stringify(crd, { aliasDuplicateObjects: false })}`,
      ] as const,
  );
  return new Map([
    ...definitions,
    ["docs/errors.md", errorsPage()],
    ["docs/cli.md", await cliPage()],
  ]);
}

/** Compares the generated files with those on disk, or writes them. Gives the names of those that differ. */
export async function staleGeneratedFiles(write: boolean): Promise<readonly string[]> {
  const stale: string[] = [];
  for (const [name, text] of await generatedFiles()) {
    const file = join(root, name);
    if ((await readFile(file, "utf8").catch(() => "")) === text) continue;
    if (!write) stale.push(`${name} differs from the code`);
    await mkdir(dirname(file), { recursive: true });
    if (write) await writeFile(file, text);
  }
  return stale;
}

function errorsPage(): string {
  const rows = (Object.keys(codes) as Code[]).map((code) => {
    const { meaning, remedy, retry } = codes[code];
    return `### ${code}\n\n${meaning}\n\n**What to do:** ${remedy}\n\n${retry === "never" ? "Not tried again until something changes." : "Tried again by itself, with growing pauses."}\n`;
  });
  return `<!-- Generated from pkg/errors/codes.ts by npm run format. -->\n\n# Error codes\n\nA code is the reason of the \`Ready\` condition, the reason of the Event, the field \`code\` of the log\nand the first word of the CLI's message.\n\n${rows.join("\n")}`;
}
