import type { Resource } from "../object/index.ts";

const core = (kind: string, plural: string, namespaced: boolean): Resource => ({
  group: "",
  version: "v1",
  kind,
  plural,
  namespaced,
});

/** The kinds that every cluster serves and that we need before discovery. */
export const coreResources = {
  configMap: core("ConfigMap", "configmaps", true),
  secret: core("Secret", "secrets", true),
  namespace: core("Namespace", "namespaces", false),
  pod: core("Pod", "pods", true),
  definition: {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    namespaced: false,
  },
  apiService: {
    group: "apiregistration.k8s.io",
    version: "v1",
    kind: "APIService",
    plural: "apiservices",
    namespaced: false,
  },
} as const satisfies Record<string, Resource>;
