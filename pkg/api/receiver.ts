import type { ObjectMeta } from "../object/index.ts";
import { objectName } from "./common.ts";
import { conditions } from "./conditions.ts";
import { boolean, integer, list, map, object, oneOf, string, type TypeOf } from "./schema.ts";

/** Who sends, and thereby how a delivery proves where it comes from. */
const types = ["generic", "generic-hmac", "github", "gitlab", "gitea", "distribution"] as const;

const resource = object(
  {
    required: { kind: oneOf(["Fleet"]) },
    optional: {
      name: objectName("A Fleet of this namespace."),
      matchLabels: map(string({ maxLength: 63 }), {
        description: "Fleets of this namespace with these labels; {} is every one.",
        maxProperties: 32,
      }),
    },
  },
  {
    rules: [
      {
        rule: "has(self.name) != has(self.matchLabels)",
        message: "exactly one of name and matchLabels",
      },
    ],
  },
);

const spec = object(
  {
    required: {
      type: oneOf(types, {
        description:
          "Who sends: github, gitlab, gitea (Forgejo too), distribution (the OCI registry); generic-hmac signs as Flux does; generic proves nothing but that it knows the path.",
      }),
      secretRef: object(
        { required: { name: objectName("Name of the Secret.") } },
        {
          description:
            "A Secret of this namespace with key token: 16 bytes or more. Its name must be one that capitan install --receiver-token gave the receiver the right to read.",
        },
      ),
      resources: list(resource, {
        description:
          "What is woken up. Of the Fleets that match, only those with a source that was pushed to; all of them for generic and generic-hmac.",
        minItems: 1,
        maxItems: 64,
      }),
      suspend: boolean({
        description: "Answer 503 and wake up nobody while true.",
        default: false,
      }),
    },
    optional: {
      events: list(string({ minLength: 1, maxLength: 63 }), {
        description:
          "Which events of the provider count. Default: its pushes: push for github and gitea, Push Hook and Tag Push Hook for gitlab. Another event wakes the Fleets that name its repository, whatever the branch.",
        maxItems: 16,
        "x-kubernetes-list-type": "set",
      }),
    },
  },
  {
    rules: [
      {
        rule: "!has(self.events) || self.type in ['github', 'gitlab', 'gitea']",
        message: "events is for github, gitlab and gitea",
      },
    ],
  },
);

const status = object({
  required: { observedGeneration: integer({ default: -1 }) },
  optional: {
    webhookPath: string({
      description:
        "Where the receiver listens for this one: /hook/ and a hash over token, name and namespace. Whoever knows it of a generic Receiver may wake its Fleets.",
    }),
    conditions,
  },
});

export const receiverSchema = object({
  required: { spec, status: { ...status, default: { observedGeneration: -1 } } },
});

export type ReceiverType = (typeof types)[number];
export type ReceiverSpec = TypeOf<typeof spec>;
export type ReceiverStatus = TypeOf<typeof status>;

/** A Receiver: a path at which a push wakes up Fleets of its namespace. */
export type Receiver = {
  readonly apiVersion: string;
  readonly kind: "Receiver";
  readonly metadata: ObjectMeta;
  readonly spec: ReceiverSpec;
  readonly status?: ReceiverStatus;
};
