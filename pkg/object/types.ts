/** Any JSON value. 64-bit integers beyond the safe range are bigint. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonMap;
export type JsonMap = { readonly [key: string]: Json | undefined };

export type ManagedField = {
  readonly manager?: string;
  readonly operation?: string;
  readonly apiVersion?: string;
  readonly subresource?: string;
  readonly time?: string;
  readonly fieldsV1?: JsonMap;
};

/** `metadata` as the API server serves it; only what Capitan reads. */
export type ObjectMeta = {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly JsonMap[];
  readonly managedFields?: readonly ManagedField[];
};

/** An object of any kind: what a manifest holds and an API server returns. */
export type KubeObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
};

/** What a metadata-only reply (`as=PartialObjectMetadata`) holds of an object. */
export type PartialMetadata = { readonly metadata: ObjectMeta };

/** True for JSON objects, false for lists, scalars and null. */
export function isJsonMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value when it is a JSON object, else an empty one. For reading optional nested fields. */
export function asMap(value: unknown): JsonMap {
  return isJsonMap(value) ? value : {};
}

/** The value when it is a string, else undefined. */
export function asString(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The value when it is a number, else undefined. */
export function asNumber(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** The value when it is a list, else an empty one. */
export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}
