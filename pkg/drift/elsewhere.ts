import { asMap, asString } from "../json/index.ts";
import { ownEntry, type ObjectMeta } from "../object/index.ts";

const labelMarks: Readonly<Record<string, string>> = {
  "kustomize.toolkit.fluxcd.io/name": "Flux Kustomization",
  "helm.toolkit.fluxcd.io/name": "Flux HelmRelease",
  "fluxcd.controlplane.io/name": "Flux Operator",
  "argocd.argoproj.io/instance": "Argo CD Application",
  "projectsveltos.io/reference-name": "Sveltos",
};
const annotationMarks: Readonly<Record<string, string>> = {
  "meta.helm.sh/release-name": "Helm release",
  "argocd.argoproj.io/tracking-id": "Argo CD Application",
  "objectset.rio.cattle.io/id": "Rancher Fleet",
  "config.k8s.io/owning-inventory": "kpt",
};
/** Field managers of tools that come back and apply again. */
const managers: Readonly<Record<string, string>> = {
  "kustomize-controller": "Flux's kustomize-controller",
  "helm-controller": "Flux's helm-controller",
  "flux-operator": "Flux Operator",
  helm: "Helm",
  flux: "the flux CLI",
};

/**
 * Who else manages an object that is there and does not carry our mark, by the marks that tools
 * leave; undefined when nobody does, or when it was ours before.
 */
export function managedElsewhere(metadata: ObjectMeta): string | undefined {
  if (ownEntry(metadata) !== undefined) return undefined;
  return (
    byMark(metadata.labels, labelMarks) ??
    byMark(metadata.annotations, annotationMarks) ??
    byController(metadata) ??
    byManager(metadata)
  );
}

function byMark(
  found: Readonly<Record<string, string>> | undefined,
  marks: Readonly<Record<string, string>>,
): string | undefined {
  const key = Object.keys(marks).find((mark) => found?.[mark] !== undefined);
  return key === undefined ? undefined : `${marks[key] ?? ""} ${found?.[key] ?? ""}`.trim();
}

function byController({ ownerReferences = [] }: ObjectMeta): string | undefined {
  const owner = ownerReferences.map(asMap).find((reference) => reference["controller"] === true);
  return owner === undefined
    ? undefined
    : `${asString(owner["kind"]) ?? ""} ${asString(owner["name"]) ?? ""}`;
}

function byManager({ managedFields = [] }: ObjectMeta): string | undefined {
  const found = managedFields.find(({ manager = "" }) => Object.hasOwn(managers, manager));
  return found === undefined ? undefined : managers[found.manager ?? ""];
}
