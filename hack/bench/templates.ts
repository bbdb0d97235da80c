import { CapitanError } from "../../pkg/errors/index.ts";
import { Renderer } from "../../pkg/render/index.ts";
import type { LayerContext } from "../../pkg/template/index.ts";
import { progress } from "../lab/progress.ts";
import { median, rounded } from "./statistics.ts";

const clusters = 1_000;
const files = 20;
const fleets = 8;
const rounds = 5;

/** How fast the templates of many clusters are rendered, in so many threads. */
export type Rendering = {
  readonly clusters: number;
  readonly files: number;
  readonly threads: number;
  readonly ms: number;
  readonly filesPerSecond: number;
};

/**
 * 1,000 clusters of 8 Fleets with 20 templates each, all asked for at once and one cluster at a time, as
 * reconcilers do. A warm-up comes first, so that threads are loaded and templates are checked.
 */
export async function measureTemplates(threads = 2): Promise<Rendering> {
  const renderer = new Renderer({ workers: threads });
  try {
    await renderEverything(renderer);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const started = performance.now();
      await renderEverything(renderer);
      times.push(performance.now() - started);
    }
    const ms = rounded(median(times));
    const filesPerSecond = rounded((clusters * files * 1_000) / ms);
    progress.done(`templates: ${clusters} clusters × ${files} files in ${ms} ms`);
    return { clusters, files, threads, ms, filesPerSecond };
  } finally {
    await renderer.close();
  }
}

async function renderEverything(renderer: Renderer): Promise<void> {
  const all = Array.from({ length: clusters }, async (_, i) => {
    const key = `fleet-${i % fleets}`;
    const [result] = await renderer.render({ key, files: layer, contexts: [contextOf(i)] });
    if (result instanceof CapitanError) throw result;
  });
  await Promise.all(all);
}

const text = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{{cluster.name}}
  namespace: {{cluster.namespace}}
  labels:
    {{yaml cluster.labels}}
spec:
  replicas: {{values.replicas}}
  template:
    spec:
      containers:
        - name: app
          image: {{values.image}}
          args: [--region={{cluster.labels.region}}, {{quote values.greeting}}]
          env:
{{#each values.env}}
            - name: {{@key}}
              value: {{quote this}}
{{/each}}
{{#if (semver cluster.version ">=1.31")}}
      hostUsers: false
{{/if}}
`;

const layer = new Map(
  Array.from({ length: files }, (_, i) => [
    `file-${i}.yaml.hbs`,
    Buffer.from(`# File ${i}\n${text}`),
  ]),
);

function contextOf(i: number): LayerContext {
  return {
    cluster: {
      name: `cluster-${i}`,
      namespace: "fleet",
      labels: { region: "eu", ring: "canary" },
      annotations: {},
      version: "v1.34.1",
      topology: { class: null, version: null, variables: {} },
      controlPlaneEndpoint: { host: "10.0.0.1", port: 6443 },
      kinds: { infrastructure: "DockerCluster", controlPlane: "KubeadmControlPlane" },
    },
    fleet: { name: "platform", namespace: "fleet" },
    values: {
      replicas: 3,
      image: "registry.example/app:1.2.3",
      greeting: "yes: welcome",
      env: { LEVEL: "info", PORT: 8080, REGION: "eu" },
    },
  };
}
