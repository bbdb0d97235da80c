import { hubResources, type KeyRotation, type SecretRotation } from "../api/index.ts";
import { isConflict, type Informer, type KubeClient } from "../kube/index.ts";
import type { KubeObject } from "../object/index.ts";
import type { Watch } from "./inputs.ts";
import { isRotation, isSecretRotation } from "./shapes.ts";

type Named = { readonly namespace: string; readonly name: string };

/** A rotation came, changed or went. */
type Changed = (rotation: Named, gone: boolean) => void;

export type RotationHandlers = {
  readonly rotationChanged: Changed;
  readonly secretRotationChanged: Changed;
};

/** The rotations of keys and of values, as they were last seen. */
export class Rotations {
  readonly #client: KubeClient;
  readonly #keys: Informer;
  readonly #secrets: Informer;

  constructor(client: KubeClient, watch: Watch, handlers: RotationHandlers) {
    const named =
      (changed: Changed) =>
      ({ metadata }: KubeObject, gone: boolean) =>
        changed({ namespace: metadata.namespace ?? "", name: metadata.name }, gone);
    this.#client = client;
    this.#keys = watch(hubResources.keyRotation, named(handlers.rotationChanged));
    this.#secrets = watch(hubResources.secretRotation, named(handlers.secretRotationChanged));
  }

  /** Keeps the caches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keys.run(signal), this.#secrets.run(signal)]);
  }

  keyRotation({ namespace, name }: Named): KeyRotation | undefined {
    const found = this.#keys.get(namespace, name);
    return found !== undefined && isRotation(found) ? (found as unknown as KeyRotation) : undefined;
  }

  secretRotation({ namespace, name }: Named): SecretRotation | undefined {
    const found = this.#secrets.get(namespace, name);
    if (found === undefined || !isSecretRotation(found)) return undefined;
    return found as unknown as SecretRotation;
  }

  /** The rotations of keys that are not complete. */
  openKeyRotations(): readonly KeyRotation[] {
    const rotations = this.#keys.items().filter(isRotation) as unknown as KeyRotation[];
    return rotations.filter(({ status }) => status?.completedTime === undefined);
  }

  /** The rotations of values that are not complete. */
  openSecretRotations(): readonly SecretRotation[] {
    const rotations = this.#secrets.items().filter(isSecretRotation) as unknown as SecretRotation[];
    return rotations.filter(({ status }) => status?.completedTime === undefined);
  }

  /** Creates a rotation of keys; false when there is one of this name, whatever it says. */
  async create(
    { metadata, spec }: { readonly metadata: KubeObject["metadata"]; readonly spec: object },
    signal: AbortSignal,
  ): Promise<boolean> {
    const object = { apiVersion: "capitan.dev/v1alpha1", kind: "KeyRotation", metadata, spec };
    try {
      await this.#client.create(hubResources.keyRotation, object, { signal });
      return true;
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
  }
}
