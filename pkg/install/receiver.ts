import { group } from "../api/index.ts";
import { annotations, type KubeObject } from "../object/index.ts";
import { labels, receiverAccount, systemNamespace } from "./names.ts";
import { manifestsOf, metricsPort } from "./process.ts";
import { boundRole, rule, type Rule } from "./rights.ts";

/** How the receiver is to run on the hub. */
export type ReceiverOptions = {
  readonly image: string;
  readonly platformNamespaces: readonly string[];
  readonly replicas: number;
  /** Names of the Secrets that Receivers may name. */
  readonly tokenSecrets: readonly string[];
};

const port = 9292;

/** The receiver's Deployment, and what belongs around it. */
export function receiverManifests(options: ReceiverOptions): readonly KubeObject[] {
  return manifestsOf({
    name: receiverAccount,
    container: "receiver",
    image: options.image,
    replicas: options.replicas,
    main: "cmd/receiver/main.ts",
    args: [
      ...options.platformNamespaces.map((name) => `--namespace=${name}`),
      ...options.tokenSecrets.map((name) => `--token-secret=${name}`),
      `--address=:${port}`,
      `--metrics-address=:${metricsPort}`,
    ],
    ports: [{ name: "hooks", containerPort: port }],
    memory: { request: "96Mi", limit: "256Mi" },
    heapMegabytes: 160,
    cpuLimit: "1",
    servicePorts: [{ name: "http-hooks", port: 80, targetPort: "hooks" }],
    directories: [],
    // The hub's API server and nobody else, by its address: not even DNS.
    egress: [{ ports: [443, 6443, 8443].map((port) => ({ port, protocol: "TCP" })) }],
    // kube-proxy and load balancers need a few seconds to forget a pod; a delivery is not repeated by all who send.
    lingerSeconds: 5,
  });
}

/** The receiver's ServiceAccount and rights: no ClusterRole, no Secret but its tokens. */
export function receiverRights(
  platformNamespaces: readonly string[],
  tokenSecrets: readonly string[],
): readonly KubeObject[] {
  return [
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: receiverAccount, namespace: systemNamespace, labels },
      automountServiceAccountToken: false,
    },
    ...platformNamespaces.flatMap((namespace) =>
      boundRole(
        { kind: "Role", namespace, name: receiverAccount, account: receiverAccount },
        rulesOf(tokenSecrets),
      ),
    ),
    ...fleetsGuard(),
  ];
}

function rulesOf(tokenSecrets: readonly string[]): readonly Rule[] {
  return [
    rule(group, ["receivers", "fleets"], ["list", "watch"]),
    rule(group, ["receivers/status"], ["patch"]),
    // Of a Fleet one annotation only, which RBAC cannot say: the admission policy does.
    rule(group, ["fleets"], ["patch"]),
    // By name, which a list or watch must then be restricted to: RBAC cannot select by label.
    { ...rule("", ["secrets"], ["list", "watch"]), resourceNames: tokenSecrets },
  ];
}

const requestedAt = JSON.stringify(annotations.requestedAt);
const field = (object: string, name: string, otherwise: string) =>
  `has(${object}.metadata.${name}) ? ${object}.metadata.${name} : ${otherwise}`;
const isSame = (name: string, otherwise: string) =>
  `(${field("object", name, otherwise)}) == (${field("oldObject", name, otherwise)})`;
const subset = (a: string, b: string) =>
  `variables.${a}.all(k, k == ${requestedAt} || (k in variables.${b} && variables.${a}[k] == variables.${b}[k]))`;

/** What the receiver changes of a Fleet is one annotation: the API server refuses everything else. */
function fleetsGuard(): readonly KubeObject[] {
  const apiVersion = "admissionregistration.k8s.io/v1";
  const metadata = { name: receiverAccount, labels };
  const account = `system:serviceaccount:${systemNamespace}:${receiverAccount}`;
  const fleets = {
    apiGroups: [group],
    apiVersions: ["v1alpha1"],
    operations: ["CREATE", "UPDATE"],
    resources: ["fleets"],
    scope: "*",
  };
  const isUntouched = [
    "oldObject != null",
    "object.spec == oldObject.spec",
    isSame("labels", "{}"),
    isSame("finalizers", "[]"),
    isSame("ownerReferences", "[]"),
    subset("before", "after"),
    subset("after", "before"),
  ];
  const policy = {
    failurePolicy: "Fail",
    // With what the API server fills in: it is one field, and two who apply it would take it from each other.
    matchConstraints: {
      matchPolicy: "Equivalent",
      namespaceSelector: {},
      objectSelector: {},
      resourceRules: [fleets],
    },
    matchConditions: [
      { name: "by-the-receiver", expression: `request.userInfo.username == "${account}"` },
    ],
    variables: [
      { name: "before", expression: field("oldObject", "annotations", "{}") },
      { name: "after", expression: field("object", "annotations", "{}") },
    ],
    validations: isUntouched.map((expression) => ({
      expression,
      message: `the receiver may change the annotation ${annotations.requestedAt} of a Fleet and nothing else`,
    })),
  };
  const binding = { policyName: receiverAccount, validationActions: ["Deny"] };
  return [
    { apiVersion, kind: "ValidatingAdmissionPolicy", metadata, spec: policy },
    { apiVersion, kind: "ValidatingAdmissionPolicyBinding", metadata, spec: binding },
  ];
}
