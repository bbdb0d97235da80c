import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { metricSpecs, newMetrics, newReceiverMetrics } from "../pkg/server/index.ts";
import { root } from "./lab/paths.ts";

const file = (name: string) => readFile(join(root, "docs", "monitoring", name), "utf8");

type Rule = {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
};
type Dashboard = {
  panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[];
};

async function rules(): Promise<readonly Rule[]> {
  const { spec } = parse(await file("alerts.yaml")) as { spec: { groups: { rules: Rule[] }[] } };
  return spec.groups.flatMap((group) => group.rules);
}

async function panels(): Promise<Dashboard["panels"]> {
  return (JSON.parse(await file("dashboard.json")) as Dashboard).panels;
}

/** Every name that a scrape can have, with the suffixes of histograms. */
async function servedNames(): Promise<ReadonlySet<string>> {
  const scrapes = [newMetrics(() => []), newReceiverMetrics(() => [])].map((m) => m.scrape());
  const text = (await Promise.all(scrapes)).map((scrape) => scrape.text).join("\n");
  const typed = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return new Set(
    typed.flatMap(([, name = "", type]) =>
      type === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => name + end) : [name],
    ),
  );
}

const namesIn = (expr: string) => expr.match(/\b(?:capitan|process|nodejs)_\w+/g) ?? [];

/** What a scrape adds to every series. */
const scrapeLabels = ["job", "pod", "instance", "le"];

/** Labels that an expression or a text names: in selectors, after `by`, in templates. */
function labelsIn(text: string): readonly string[] {
  const selected = [...text.matchAll(/\{([^{}]*)\}/g)].flatMap(([, inside = ""]) =>
    [...inside.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
  );
  const grouped = [...text.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, inside = ""]) =>
    inside.split(",").map((label) => label.trim()),
  );
  const shown = [...text.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(([, l = ""]) => l);
  return [...selected, ...grouped, ...shown].filter((label) => label !== "value");
}

function wrongLabels(expr: string, shown: string): readonly string[] {
  const known = namesIn(expr).flatMap((name) => {
    const base = name.replace(/_(?:bucket|sum|count)$/, "");
    const specs = metricSpecs as Readonly<Record<string, { labels: readonly string[] }>>;
    return (specs[name] ?? specs[base])?.labels ?? [];
  });
  return labelsIn(`${expr} ${shown}`).filter((l) => ![...known, ...scrapeLabels].includes(l));
}

test("every alert uses metrics and labels that exist, and says what to do", async () => {
  const served = await servedNames();
  const all = await rules();
  assert.ok(all.length >= 15);
  assert.equal(new Set(all.map(({ alert }) => alert)).size, all.length);
  for (const { alert, expr, labels, annotations } of all) {
    assert.ok(namesIn(expr).length > 0, alert);
    assert.deepEqual(
      namesIn(expr).filter((name) => !served.has(name)),
      [],
      alert,
    );
    assert.deepEqual(wrongLabels(expr, JSON.stringify(annotations)), [], alert);
    assert.match(labels.severity, /^(?:critical|warning)$/, alert);
    assert.match(annotations.summary, /\.$/, alert);
    assert.match(annotations.runbook, /\.$/, alert);
  }
});

test("every panel of the dashboard uses metrics and labels that exist", async () => {
  const served = await servedNames();
  const all = await panels();
  for (const { title, targets = [] } of all) {
    for (const { expr, legendFormat } of targets) {
      assert.ok(namesIn(expr).length > 0, title);
      assert.deepEqual(
        namesIn(expr).filter((name) => !served.has(name)),
        [],
        title,
      );
      assert.deepEqual(wrongLabels(expr, legendFormat), [], title);
    }
  }
});

test("every metric of ours is on the dashboard, and its sentence ends", async () => {
  const shown = (await panels()).flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  for (const [name, { help, advice }] of Object.entries(metricSpecs)) {
    if (name !== "capitan_connected_clusters")
      assert.ok(
        shown.some((expr) => expr.includes(name)),
        name,
      );
    assert.match(help, /\.$/, name);
    assert.match(advice, /\.$/, name);
  }
});
