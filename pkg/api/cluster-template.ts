import type { ObjectMeta } from "../object/index.ts";
import {
  anyValue,
  boolean,
  integer,
  list,
  map,
  number,
  object,
  oneOf,
  string,
  type TypeOf,
} from "./schema.ts";

const parameter = object(
  {
    required: { type: oneOf(["string", "integer", "number", "boolean", "array"]) },
    optional: {
      description: string({ description: "What it is for, in words for whoever is asked for it." }),
      default: anyValue({ description: "What it is when nobody says." }),
      enum: list(anyValue(), { description: "All values that there are.", maxItems: 64 }),
      pattern: string({
        description:
          "A regular expression of RE2 that a string, or each item of an array, matches.",
      }),
      minimum: number({ description: "Of an integer or a number." }),
      maximum: number({ description: "Of an integer or a number." }),
      minLength: integer({ description: "Characters of a string, items of an array.", minimum: 0 }),
      maxLength: integer({ description: "Characters of a string, items of an array.", minimum: 0 }),
      required: boolean({
        description: "Whether it has to be given. One with a default never has to.",
      }),
      secret: boolean({
        description:
          "A value that nobody may see: it is asked for without echo, never recorded, and only files that are encrypted may hold it.",
      }),
    },
  },
  {
    rules: [
      {
        rule: "!has(self.secret) || !self.secret || self.type == 'string'",
        message: "a secret parameter is a string",
      },
      {
        rule: "!has(self.minimum) && !has(self.maximum) || self.type in ['integer', 'number']",
        message: "minimum and maximum are of integers and numbers",
      },
      {
        rule: "!has(self.pattern) && !has(self.minLength) && !has(self.maxLength) || self.type in ['string', 'array']",
        message: "pattern, minLength and maxLength are of strings and arrays",
      },
    ],
  },
);

const file = object({
  required: {
    path: string({
      description: "Where the file lies in the repository. A template.",
      minLength: 1,
      maxLength: 512,
      rules: [
        {
          rule: "!self.startsWith('/') && !self.contains('..') && !self.contains('\\\\')",
          message: "must be a relative path inside the repository",
        },
      ],
    }),
    content: string({ description: "The file, YAML. A template.", maxLength: 262_144 }),
  },
  optional: {
    when: string({
      description: "An expression of templates; the file is there only when it is true.",
      minLength: 1,
    }),
  },
});

const spec = object({
  required: {
    files: list(file, {
      description: "What becomes of a cluster in the repository.",
      minItems: 1,
      maxItems: 64,
    }),
  },
  optional: {
    description: string({ description: "What kind of cluster this makes." }),
    parameters: map(parameter, {
      description: "What may be chosen for each cluster: parameters.NAME in templates.",
      rules: [
        {
          rule: "self.all(name, name.matches('^[a-zA-Z][a-zA-Z0-9_]{0,62}$'))",
          message: "the name of a parameter is a word of letters, digits and _",
        },
      ],
    }),
    commit: object(
      {
        optional: {
          message: string({
            description: "The first line of the commit that makes a cluster. A template.",
            minLength: 1,
            maxLength: 200,
          }),
        },
      },
      { description: "Defaults of commits." },
    ),
  },
});

export const clusterTemplateSchema = object({ required: { spec } });

export type ClusterTemplateSpec = TypeOf<typeof spec>;
export type TemplateParameter = TypeOf<typeof parameter>;
export type TemplateFile = TypeOf<typeof file>;

/** Typed parameters, and the files that become of them for each cluster. */
export type ClusterTemplate = {
  readonly apiVersion: string;
  readonly kind: "ClusterTemplate";
  readonly metadata: ObjectMeta;
  readonly spec: ClusterTemplateSpec;
};
