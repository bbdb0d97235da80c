import type { Code } from "../errors/index.ts";
import type { LayerContext } from "../template/index.ts";

/** What a thread is asked: the same templates for several clusters. */
export type Task = {
  readonly templates: readonly { readonly file: string; readonly text: string }[];
  readonly contexts: readonly LayerContext[];
};

/** What came of one cluster: the rendered texts in the order of the templates, or the reason why not. */
export type Outcome =
  | { readonly kind: "rendered"; readonly texts: readonly string[] }
  | { readonly kind: "refused"; readonly code: Code; readonly message: string };

/** One outcome per context, in their order. */
export type Answer = readonly Outcome[];

/** What a thread says first, once it is loaded. */
export const ready = "ready";
