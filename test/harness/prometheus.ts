import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { root } from "../../hack/lab/paths.ts";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTool, moduleDir } from "../../hack/lab/tools.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";

type Labels = Readonly<Record<string, string>>;

/** One series, and its values: one in a scrape, a row of them in promtool's notation. */
export type Series = { readonly name: string; readonly labels: Labels; readonly values: string };

export type Rule = {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Labels;
  readonly annotations: Labels;
};

const monitoringDir = join(root, "docs", "monitoring");

/** The rule file in alerts.yaml. */
export async function ruleFile(): Promise<{ groups: { name: string; rules: Rule[] }[] }> {
  const text = await readFile(join(monitoringDir, "alerts.yaml"), "utf8");
  return (parse(text) as { spec: Awaited<ReturnType<typeof ruleFile>> }).spec;
}

/** What every panel of the dashboard asks for. */
export async function dashboardExpressions(): Promise<readonly string[]> {
  const text = await readFile(join(monitoringDir, "dashboard.json"), "utf8");
  const { panels } = JSON.parse(text) as { panels: { targets?: { expr: string }[] }[] };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

/** CRDs of Prometheus Operator, as it ships them. */
export async function operatorDefinitions(
  ...plurals: readonly string[]
): Promise<readonly KubeObject[]> {
  const module = "github.com/prometheus-operator/prometheus-operator";
  const dir = join(
    await moduleDir("prometheus-operator", module),
    "example",
    "prometheus-operator-crd",
  );
  const files = plurals.map((plural) => join(dir, `monitoring.coreos.com_${plural}.yaml`));
  const read = async (file: string) => parseManifests(await readFile(file, "utf8"), file);
  return (await Promise.all(files.map(read))).flat();
}

/**
 * What Prometheus stores of a scrape: where a series has a label that its target has too, one of the two counts, and
 * the scraped one is called `exported_` when it is not honoured.
 */
export function seriesOf(text: string, target: Labels, honorLabels: boolean): readonly Series[] {
  return text.split("\n").flatMap((line) => {
    const [, name, inside = "", values] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || values === undefined) return [];
    const own = [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = own.map(([, label = "", value = ""]) => {
      const isRenamed = label in target && !honorLabels;
      return [isRenamed ? `exported_${label}` : label, value] as const;
    });
    return [{ name, labels: { ...target, ...Object.fromEntries(labels) }, values }];
  });
}

/** A series as promtool's files name it. */
export function selectorOf({ name, labels }: Series): string {
  const inside = Object.entries(labels).map(
    ([label, value]) => `${label}=${JSON.stringify(value)}`,
  );
  return `${name}{${inside.sort().join(",")}}`;
}

/** Runs Prometheus' own promtool over files, named in its arguments. Gives what it prints; throws that when it fails. */
export async function promtool(
  args: readonly string[],
  files: Readonly<Record<string, unknown>>,
): Promise<string> {
  const program = await ensureTool("promtool", silent);
  const cwd = await mkdtemp(join(tmpdir(), "capitan-promtool-"));
  try {
    for (const [name, content] of Object.entries(files))
      await writeFile(join(cwd, name), stringify(content, { aliasDuplicateObjects: false }));
    return await new Promise((resolve, reject) =>
      execFile(program, args, { cwd, timeout: 120_000 }, (error, stdout, stderr) => {
        if (error === null) resolve(`${stdout}${stderr}`);
        else reject(new Error(`promtool ${args.join(" ")}: ${stdout}${stderr}`));
      }),
    );
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

/** The complaints of promtool about a scrape. */
export async function metricsLint(scrape: string): Promise<readonly string[]> {
  const program = await ensureTool("promtool", silent);
  return new Promise((resolve, reject) => {
    const child = execFile(program, ["check", "metrics"], (error, stdout, stderr) => {
      // 3: it has complaints.
      if (error === null || error.code === 3)
        resolve(`${stdout}${stderr}`.split("\n").filter((line) => line !== ""));
      else reject(new Error(stderr));
    });
    child.stdin?.end(scrape);
  });
}
