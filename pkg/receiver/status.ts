import type { Receiver, ReceiverStatus } from "../api/index.ts";
import type { Code } from "../errors/index.ts";
import { applyConditions, type Decided } from "../status/index.ts";
import { webhookPath, type Token } from "./token.ts";

/** What is known of the Secret that a Receiver names; `refused` when nobody may ask for it. */
export type TokenFound = Token | { readonly kind: "none" } | { readonly kind: "refused" };

/** A Receiver's status. `now` is RFC 3339. */
export function receiverStatus(receiver: Receiver, found: TokenFound, now: string): ReceiverStatus {
  const { metadata, status: before } = receiver;
  const generation = metadata.generation ?? 0;
  const ready = judge(receiver, found);
  const stalled: readonly Decided[] =
    ready.status === "False" ? [{ ...ready, type: "Stalled", status: "True" }] : [];
  const { name, namespace = "" } = metadata;
  const path =
    found.kind === "good" ? { webhookPath: webhookPath(found.token, { name, namespace }) } : {};
  return {
    observedGeneration: generation,
    ...path,
    conditions: applyConditions(before?.conditions, [ready, ...stalled], { generation, now }),
  };
}

function judge({ metadata, spec }: Receiver, found: TokenFound): Decided {
  const secret = `Secret ${metadata.namespace ?? ""}/${spec.secretRef.name}`;
  const broken = (code: Code, message: string): Decided => ({
    type: "Ready",
    status: "False",
    reason: code,
    message,
  });
  switch (found.kind) {
    case "refused":
      return broken("ReceiverTokenRefused", `${secret} is not one that the receiver may read`);
    case "none":
      return broken("ReceiverTokenInvalid", `${secret} does not exist`);
    case "bad":
      return broken("ReceiverTokenInvalid", `${secret} ${found.why}`);
    case "good":
      return spec.suspend
        ? { type: "Ready", status: "True", reason: "Suspended", message: "suspended: answers 503" }
        : { type: "Ready", status: "True", reason: "ReconciliationSucceeded", message: "listens" };
  }
}
