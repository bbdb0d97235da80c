import type { HelperName } from "./helpers.ts";

/** Where something stands in a template; both count from 1. */
export type Place = { readonly line: number; readonly column: number };

export type Literal = {
  readonly kind: "literal";
  readonly value: string | number | boolean | null;
  readonly place: Place;
};

/** `cluster.name`, `../name`, `this`, `@root.values`, `@key`. */
export type Path = {
  readonly kind: "path";
  readonly from: "context" | "root" | "loop";
  /** How many `../` stand before it. */
  readonly depth: number;
  readonly parts: readonly string[];
  /** As it is written, for messages. */
  readonly text: string;
  readonly place: Place;
};

/** `helper ARGUMENT... option=VALUE`, in braces or in parentheses. */
export type Call = {
  readonly kind: "call";
  readonly name: HelperName;
  readonly args: readonly Expression[];
  readonly options: ReadonlyMap<string, Expression>;
  readonly place: Place;
};

export type Expression = Literal | Path | Call;

export type Statement =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "write"; readonly expression: Expression; readonly place: Place }
  | Block;

/** `{{#if}}`, `{{#unless}}`, `{{#each}}`, `{{#with}}`. */
export type Block = {
  readonly kind: "block";
  readonly name: BlockName;
  readonly subject: Expression;
  readonly body: readonly Statement[];
  readonly otherwise: readonly Statement[];
  readonly place: Place;
};

export const blockNames = ["if", "unless", "each", "with"] as const;
export type BlockName = (typeof blockNames)[number];

/** An expression as a person would write it. */
export function textOf(expression: Expression): string {
  switch (expression.kind) {
    case "literal":
      return JSON.stringify(expression.value);
    case "path":
      return expression.text;
    case "call":
      return `(${[expression.name, ...expression.args.map(textOf)].join(" ")})`;
  }
}
