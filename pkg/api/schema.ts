import type { Json } from "../json/index.ts";

/**
 * Builders of OpenAPI v3 schemas that carry their TypeScript type, so that a CRD and the type of
 * its objects are written once. `Schema<T>` is plain JSON at run time; T exists only for the checker.
 */

declare const typed: unique symbol;
export type Schema<T> = OpenApi & { readonly [typed]?: T };
type OpenApi = { readonly [keyword: string]: unknown };

/** The type that a schema describes. */
export type TypeOf<S> = S extends Schema<infer T> ? T : never;

/** CEL rules: `{ rule, message }` of x-kubernetes-validations. */
export type Rule = { readonly rule: string; readonly message: string };
type Extra = { readonly description?: string; readonly rules?: readonly Rule[] } & OpenApi;

function node<T>(type: string, { rules, ...extra }: Extra, more: OpenApi = {}): Schema<T> {
  const validations = rules === undefined ? {} : { "x-kubernetes-validations": rules };
  return { type, ...more, ...extra, ...validations };
}

export const string = (extra: Extra = {}): Schema<string> =>
  node("string", { maxLength: 1024, ...extra });
export const integer = (extra: Extra = {}): Schema<number> =>
  node("integer", { format: "int64", ...extra });
export const number = (extra: Extra = {}): Schema<number> => node("number", extra);
export const boolean = (extra: Extra = {}): Schema<boolean> => node("boolean", extra);

/** One of the given words. */
export function oneOf<const T extends string>(words: readonly T[], extra: Extra = {}): Schema<T> {
  return node("string", { enum: words, ...extra });
}

/** A list; `maxItems` is required, because an unbounded list makes CEL rules unaffordable. */
export function list<T>(
  items: Schema<T>,
  extra: Extra & { maxItems: number },
): Schema<readonly T[]> {
  return node("array", extra, { items });
}

/** A string-to-T map. */
export function map<T>(values: Schema<T>, extra: Extra = {}): Schema<Readonly<Record<string, T>>> {
  return node("object", { maxProperties: 64, ...extra }, { additionalProperties: values });
}

/** Any object; the server keeps what it does not know. */
export const anyObject = (extra: Extra = {}): Schema<Readonly<Record<string, unknown>>> =>
  node("object", extra, { "x-kubernetes-preserve-unknown-fields": true });

/** Any value at all. */
export const anyValue = (extra: Extra = {}): Schema<Json> => ({
  "x-kubernetes-preserve-unknown-fields": true,
  ...extra,
});

type Fields = Readonly<Record<string, Schema<unknown>>>;
type Required<F extends Fields> = { readonly [K in keyof F]: TypeOf<F[K]> };
type Optional<F extends Fields> = { readonly [K in keyof F]?: TypeOf<F[K]> | undefined };

/** An object with fields that must be there (or have a default) and fields that may. */
export function object<R extends Fields, O extends Fields>(
  fields: { readonly required?: R; readonly optional?: O },
  extra: Extra = {},
): Schema<Required<R> & Optional<O>> {
  const { required = {}, optional = {} } = fields;
  const demanded = Object.entries(required as Fields).filter(
    ([, schema]) => !("default" in schema),
  );
  const names = demanded.map(([name]) => name);
  return node("object", extra, {
    properties: { ...required, ...optional },
    ...(names.length > 0 ? { required: names } : {}),
  });
}
