import { hubResources } from "../../pkg/api/index.ts";
import type { Repositories, SourcesOptions } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { ApiError, type KubeClient } from "../../pkg/kube/index.ts";
import { clusterNameLabel } from "../../pkg/capi/index.ts";
import { labels, type KubeObject } from "../../pkg/object/index.ts";
import { openRepositories } from "../repositories.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { inputNamed, type Offline } from "./offline.ts";

/** What a Fleet is resolved with. */
export type Means = Omit<SourcesOptions, "renderer">;

/** The hub's Secrets, as far as the person who asks may read them. */
export const hubSecrets = (hub: KubeClient): Means["secrets"] => ({
  secretAs: (_, name, signal) => hub.get(hubResources.secret, name, { signal }),
  identitySecrets: async (_, { namespace, name, isManager = false }, signal) => {
    const label = isManager ? labels.managerKey : clusterNameLabel;
    const labelSelector = `${label}=${name},${labels.ageGeneration}`;
    try {
      return (await hub.list(hubResources.secret, { namespace, labelSelector, signal })).items;
    } catch (error) {
      // Who may read some Secrets by name has at least the first.
      if (isManager && error instanceof ApiError && error.status === 403) return [];
      throw error;
    }
  },
});

/** Registries, and the hub's Secrets and ConfigMaps as far as the person who asks may read them. */
export function hubMeans(hub: KubeClient): Means {
  return {
    secrets: hubSecrets(hub),
    configMaps: {
      configMapAs: (_, name, signal) => hub.get(hubResources.configMap, name, { signal }),
    },
    ...openRepositories({ cacheDir: cacheDirectory() }),
  };
}

/** What files hold, and nothing else. */
export function offlineMeans(inputs: Offline, repositories: Repositories): Means {
  const secret = inputNamed(inputs, "Secret");
  const configMap = inputNamed(inputs, "ConfigMap");
  return {
    secrets: {
      secretAs: (_, name) => secret(name),
      identitySecrets: (_, holder) => Promise.resolve(identitySecretsIn(inputs, holder.namespace)),
    },
    configMaps: { configMapAs: (_, name) => configMap(name) },
    repositories,
    gitRepositories: ({ host, path }) => {
      throw new CapitanError(
        "NotFound",
        `${host}${path} is not asked offline: say --source LAYER=DIR`,
      );
    },
  };
}

const identitySecretsIn = ({ inputs }: Offline, namespace: string): readonly KubeObject[] =>
  inputs.filter(
    ({ metadata }) =>
      metadata.labels?.[labels.ageGeneration] !== undefined &&
      (metadata.namespace ?? namespace) === namespace,
  );
