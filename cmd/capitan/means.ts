import { hubResources } from "../../pkg/api/index.ts";
import type { GitRepositories, Repositories, SourcesOptions } from "../../pkg/controllers/index.ts";
import { parseDockerConfig } from "../../pkg/distribution/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { ArtifactCache, RegistryClient } from "../../pkg/registry/index.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { inputNamed, type Offline } from "./offline.ts";

/** What a Fleet is resolved with. */
export type Means = Omit<SourcesOptions, "renderer">;

/** Registries, and the hub's Secrets and ConfigMaps. */
export function hubMeans(hub: KubeClient): Means {
  return {
    secrets: { secret: (name, signal) => hub.get(hubResources.secret, name, { signal }) },
    configMaps: { configMap: (name, signal) => hub.get(hubResources.configMap, name, { signal }) },
    repositories: registries(),
    gitRepositories: gits(),
  };
}

/** What files hold, and nothing else. */
export function offlineMeans(inputs: Offline, repositories: Repositories): Means {
  return {
    secrets: { secret: inputNamed(inputs, "Secret") },
    configMaps: { configMap: inputNamed(inputs, "ConfigMap") },
    repositories,
    gitRepositories: ({ host, path }) => {
      throw new CapitanError(
        "NotFound",
        `${host}${path} is not asked offline: say --source LAYER=DIR`,
      );
    },
  };
}

function gits(): GitRepositories {
  const cache = new PackCache(cacheDirectory(), () => undefined);
  return (location, access) => new GitRepository(location, { ...access, cache });
}

function registries(): Repositories {
  const cache = new ArtifactCache(cacheDirectory(), () => undefined);
  return (reference, { insecure, ca, dockerConfig }) => {
    const login =
      dockerConfig === undefined
        ? undefined
        : parseDockerConfig(dockerConfig.text, dockerConfig.what);
    const registry = new RegistryClient(reference, { insecure, ca, login });
    return {
      resolve: (tag, signal) => registry.resolve(tag, signal),
      tags: (signal) => registry.tags(signal),
      pull: (digest, signal) => registry.pull(digest, cache, signal),
      close: () => registry.close(),
    };
  };
}
