import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { resources } from "./resources.ts";

/** A token of a ServiceAccount that is there, good for so many seconds (600 at least). */
export async function accountToken(
  hub: KubeClient,
  account: { readonly namespace: string; readonly name: string },
  expirationSeconds: number,
): Promise<string> {
  const request = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    metadata: account,
    spec: { expirationSeconds },
  };
  const reply = await hub.create(resources.serviceAccount, request, { subresource: "token" });
  return asString(asMap(reply["status"])["token"]) ?? "";
}
