import { hubResources, type Receiver } from "../api/index.ts";
import { asMap, asString } from "../json/index.ts";
import { Informer, type KubeClient } from "../kube/index.ts";
import type { KubeObject, Resource } from "../object/index.ts";
import {
  sourcesOf,
  tokenOf,
  webhookPath,
  type Token,
  type TokenFound,
  type Watched,
} from "../receiver/index.ts";

export type DirectoryOptions = {
  readonly client: KubeClient;
  readonly namespaces: readonly string[];
  /** Names of the Secrets that may be read, in each of the namespaces. No other is ever asked for. */
  readonly tokenSecrets: readonly string[];
  readonly random: () => number;
  /** A Receiver, or a Secret that Receivers may name, came, changed or went. */
  readonly changed: (receiver: Receiver) => void;
  readonly fleetGone: (key: string) => void;
  readonly failed: (kind: string, error: unknown) => void;
};

/** A Receiver that listens, with its token. */
export type Listener = { readonly receiver: Receiver; readonly token: string };

type Kept = KubeObject & { readonly kept?: unknown };

/** Receivers, the tokens that they name, and Fleets, of some namespaces, each kept by a watch of its own. */
export class Directory {
  readonly #options: DirectoryOptions;
  readonly #receivers: readonly Informer[];
  readonly #fleets: readonly Informer[];
  readonly #secrets: readonly Informer[];
  readonly #tokenSecrets: ReadonlySet<string>;
  #byPath: ReadonlyMap<string, Listener> | undefined;

  constructor(options: DirectoryOptions) {
    this.#options = options;
    const { namespaces, tokenSecrets, changed, fleetGone } = options;
    this.#tokenSecrets = new Set(tokenSecrets);
    this.#receivers = namespaces.map((namespace) =>
      this.#watch(hubResources.receiver, { namespace }, (object, gone) => {
        this.#byPath = undefined;
        if (!gone && isReceiver(object)) changed(object as unknown as Receiver);
      }),
    );
    this.#fleets = namespaces.map((namespace) =>
      this.#watch(hubResources.fleet, { namespace, keep: watchedOnly }, ({ metadata }, gone) => {
        if (gone) fleetGone(`${namespace}/${metadata.name}`);
      }),
    );
    this.#secrets = namespaces.flatMap((namespace) =>
      tokenSecrets.map((name) =>
        // A watch that names one object needs a right on that object only.
        this.#watch(
          hubResources.secret,
          { namespace, fieldSelector: `metadata.name=${name}`, keep: tokenOnly },
          () => {
            this.#byPath = undefined;
            for (const receiver of this.receivers())
              if (receiver.metadata.namespace === namespace) changed(receiver);
          },
        ),
      ),
    );
  }

  #watch(
    resource: Resource,
    more: { namespace: string; fieldSelector?: string; keep?: (object: KubeObject) => KubeObject },
    onChange: (object: KubeObject, gone: boolean) => void,
  ): Informer {
    const { client, random, failed } = this.#options;
    const onError = (error: unknown) => failed(resource.kind, error);
    return new Informer(client, resource, { ...more, onChange, onError, random });
  }

  /** Keeps the caches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer.run(signal)));
  }

  /** Resolves when everything has been listed once, which is never where that is forbidden. */
  async synced(): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer.synced));
  }

  #all(): readonly Informer[] {
    return [...this.#receivers, ...this.#fleets, ...this.#secrets];
  }

  /** All Receivers. */
  receivers(): readonly Receiver[] {
    const all = this.#receivers.flatMap((informer) => informer.items());
    return all.filter(isReceiver) as unknown as readonly Receiver[];
  }

  receiver(namespace: string, name: string): Receiver | undefined {
    for (const informer of this.#receivers) {
      const found = informer.get(namespace, name);
      if (found !== undefined && isReceiver(found)) return found as unknown as Receiver;
    }
    return undefined;
  }

  /** What is known of a Receiver's Secret. */
  tokenFor({ metadata, spec }: Receiver): TokenFound {
    const { name } = spec.secretRef;
    if (!this.#tokenSecrets.has(name)) return { kind: "refused" };
    for (const informer of this.#secrets) {
      const found: Kept | undefined = informer.get(metadata.namespace ?? "", name);
      if (found !== undefined) return found.kept as Token;
    }
    return { kind: "none" };
  }

  /** The Receiver that listens at a path. */
  listenerAt(path: string): Listener | undefined {
    this.#byPath ??= this.#listeners();
    return this.#byPath.get(path);
  }

  #listeners(): ReadonlyMap<string, Listener> {
    const byPath = new Map<string, Listener>();
    for (const receiver of this.receivers()) {
      const found = this.tokenFor(receiver);
      if (found.kind !== "good") continue;
      const { name, namespace = "" } = receiver.metadata;
      byPath.set(webhookPath(found.token, { name, namespace }), { receiver, token: found.token });
    }
    return byPath;
  }

  /** The Fleets of a namespace. */
  fleetsIn(namespace: string): readonly Watched[] {
    return this.#fleets
      .flatMap((informer) => informer.items())
      .filter(({ metadata }) => metadata.namespace === namespace)
      .map((object: Kept) => object.kept as Watched);
  }
}

/** What came past the CRD must not stop the others. */
function isReceiver(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  const secret = asString(asMap(spec["secretRef"])["name"]);
  return secret !== undefined && Array.isArray(spec["resources"]) && isType(spec["type"]);
}

const typeWords = new Set(["generic", "generic-hmac", "github", "gitlab", "gitea", "distribution"]);
const isType = (value: unknown) => typeof value === "string" && typeWords.has(value);

const versionOf = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => {
  const { name, namespace = "", uid = "", resourceVersion = "" } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } };
};

function watchedOnly(object: KubeObject): KubeObject {
  const { name, labels = {} } = object.metadata;
  const kept: Watched = { name, labels, sources: sourcesOf(object["spec"]) };
  return { ...versionOf(object), kept };
}

function tokenOnly(object: KubeObject): KubeObject {
  return { ...versionOf(object), kept: tokenOf(object) };
}
