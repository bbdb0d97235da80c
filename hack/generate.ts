import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { crds } from "../pkg/api/index.ts";
import { codes, type Code } from "../pkg/errors/index.ts";
import { metricSpecs, newMetrics } from "../pkg/server/index.ts";
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
    ["docs/monitoring/metrics.md", await metricsPage()],
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

const servedBy = { receiver: "receiver", both: "controller and receiver" };

async function metricsPage(): Promise<string> {
  const own = Object.entries(metricSpecs).map(([name, spec]) => {
    const { type, labels, help, advice } = spec;
    const by = "by" in spec ? servedBy[spec.by] : "controller";
    const shown = labels.length === 0 ? "none" : labels.map((label) => `\`${label}\``).join(", ");
    return `### ${name}\n\n${help}\n\nType: ${type}. Labels: ${shown}. Served by: ${by}.\n\n**What to do:** ${advice}\n`;
  });
  // As the controller really serves them, so that the page cannot name what is not there.
  const { text } = await newMetrics(() => []).scrape();
  const helps = [...text.matchAll(/^# HELP (\S+) (.*)$/gm)];
  const node = helps
    .filter(([, name = ""]) => !(name in metricSpecs))
    .map(([, name = "", help = ""]) => `| \`${name}\` | ${help} |`);
  return `<!-- Generated from pkg/server/catalogue.ts by npm run format. -->

# Metrics

\`/metrics\` on port 8080 of each pod of controller and receiver, in Prometheus' text format. Names of Fleets and
Clusters are labels of gauges only: as many series as there are objects, gone when the object goes.
Nothing else has a label that grows. What is said to come "from the leader" is not there in the pods
that wait. \`alerts.yaml\` and \`dashboard.json\` beside this page use nothing but these.

${own.join("\n")}
## Of the process

From \`prom-client\`, as Node reports it. Memory that grows for days and an event loop that lags by
more than half a second are what to look at; the memory limit of the Deployment is 1 GiB.

| metric | what |
|---|---|
${node.join("\n")}
`;
}
