import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../../hack/lab/paths.ts";

/** The block of a page below docs that begins with this. Throws when no block does. */
export async function inDocs(page: string, beginning: string): Promise<string> {
  const text = await readFile(join(root, "docs", page), "utf8");
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
  const found = blocks.find((block) => block.startsWith(beginning));
  if (found === undefined)
    throw new Error(`docs/${page} has no block that begins with ${beginning}`);
  return found;
}
