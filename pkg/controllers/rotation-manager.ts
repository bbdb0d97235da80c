import type { FleetMember, RevisionLayer } from "../api/index.ts";
import { clusterOf } from "../cluster/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { userOf } from "../fleet/index.ts";
import {
  managerName,
  type Proof,
  type Reader,
  type Revision,
  type Tree,
} from "../rotation/index.ts";
import { managerKeys, type ManagerKeys } from "./manager-keys.ts";
import type { Named, Reader as SourceReader } from "./ports.ts";
import type { PulledFiles } from "./pulled.ts";
import type { Keyring, RotationFiles } from "./rotation-files.ts";
import { generationOf, sourceName, usable, type ReadersOptions } from "./rotation-readers.ts";

/** What is known before the hub is looked at. */
export type AskedManager = {
  readonly namespace: string;
  /** The name of the Secret with the first generation. */
  readonly secret: string;
  readonly keys: ManagerKeys;
  /** Whether its key is to be rotated: else nobody needs to know what it opens where. */
  readonly isTarget: boolean;
  /** Proofs that the status holds. */
  readonly proofs: readonly Proof[];
  readonly tree: Tree;
  readonly commit: string;
  readonly keyring: Keyring;
};

/** A Fleet whose layers the hub opens with the key. */
type Opening = { readonly of: SourceReader; readonly revisions: readonly Opened[] };
/** A layer that is opened in one of the Fleet's revisions. */
type Opened = {
  readonly layer: RevisionLayer;
  readonly use: Revision["use"];
  /** For whom, for people. */
  readonly whom: string;
};

/** Looks at the hub as a reader of files: what it opens for Fleets, and with which of its keys. */
export class RotationManager {
  readonly #options: ReadersOptions;
  readonly #files: RotationFiles;
  readonly #pulled: PulledFiles;

  constructor(options: ReadersOptions, files: RotationFiles, pulled: PulledFiles) {
    this.#options = options;
    this.#files = files;
    this.#pulled = pulled;
  }

  /** The manager as it is now. Throws what the sources of Fleets throw. */
  async reader(asked: AskedManager, signal: AbortSignal): Promise<Reader> {
    const { keys, isTarget } = asked;
    const openings = isTarget ? await this.#openings(asked, signal) : [];
    const planted = await this.#planted(asked, openings, signal);
    const revisions = await Promise.all(
      openings.map((opening) => this.#revisions(opening, asked, signal)),
    );
    return {
      name: managerName,
      uid: keys.uid,
      presence: "reachable",
      generations: keys.generations.map(generationOf),
      planted,
      revisions: revisions.flat(),
      proofs: [...asked.proofs, ...this.#shown(asked, planted)],
      canary: undefined,
    };
  }

  /** Fleets of the namespace that open something with the key, or may go back to it. */
  async #openings(
    { namespace, secret }: AskedManager,
    signal: AbortSignal,
  ): Promise<readonly Opening[]> {
    const { hub, tenancy } = this.#options;
    const found = hub.fleets().map(async (fleet): Promise<readonly Opening[]> => {
      if (fleet.metadata.namespace !== namespace) return [];
      const name = { namespace, name: fleet.metadata.name };
      const uses = await this.#uses(name, fleet.status?.updateRevision, signal);
      const revisions = await Promise.all(
        [...uses].map(([revision, use]) => this.#layers({ name, revision, secret }, use, signal)),
      );
      const opened = revisions.flat();
      return opened.length === 0
        ? []
        : [{ of: { namespace, as: userOf(fleet, tenancy) }, revisions: opened }];
    });
    return (await Promise.all(found)).flat();
  }

  /** The revisions of a Fleet. The hub opens what members are pinned to, whatever clusters run. */
  async #uses(
    fleet: Named,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Pick<Opened, "use" | "whom">>> {
    const { hub } = this.#options;
    const uses = new Map<string, Pick<Opened, "use" | "whom">>();
    for (const { metadata } of await hub.revisionsOf(fleet, signal))
      uses.set(metadata.name, { use: "kept", whom: fleet.name });
    if (next !== undefined) uses.set(next, { use: "pinned", whom: fleet.name });
    const members = hub.membersOf(fleet).filter(({ spec }) => spec.state === "Present");
    for (const [revision, on] of Map.groupBy(members, ({ spec }) => spec.revision))
      uses.set(revision, { use: "pinned", whom: `${fleet.name} on ${namesOf(on)}` });
    return uses;
  }

  async #layers(
    {
      name,
      revision,
      secret,
    }: { readonly name: Named; readonly revision: string; readonly secret: string },
    { use, whom }: Pick<Opened, "use" | "whom">,
    signal: AbortSignal,
  ): Promise<readonly Opened[]> {
    const found = await this.#options.hub.revision({ ...name, name: revision }, signal);
    const layers = (found?.spec.layers ?? []).filter(
      ({ decryption }) => decryption?.secretRef.name === secret,
    );
    return layers.map((layer) => ({ layer, use, whom }));
  }

  /** The recipients of the identities with which everything that the hub opens can be opened. */
  async #planted(
    { namespace, secret, keys }: AskedManager,
    openings: readonly Opening[],
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    const users = new Set(openings.flatMap(({ of }) => of.as ?? []));
    const own = usable(keys.generations);
    const held = [...users].map(async (as) => {
      try {
        const reader = { namespace, as };
        const { generations } = await managerKeys(this.#options.secrets, reader, secret, signal);
        return usable(generations);
      } catch (error) {
        // Who may not even read the first opens nothing, and has nothing to lose.
        if (isCapitanError(error)) return own;
        throw error;
      }
    });
    return (await Promise.all(held)).reduce((all, theirs) => all.intersection(theirs), own);
  }

  async #revisions(
    { of, revisions }: Opening,
    { keys, keyring }: AskedManager,
    signal: AbortSignal,
  ): Promise<readonly Revision[]> {
    // What the hub opens is all over the tree.
    const own = keys.generations.map(({ identity }) => identity.recipient);
    const audience = { own, directories: [""] };
    const found = revisions.map(async ({ layer, use, whom }): Promise<readonly Revision[]> => {
      try {
        const bytes = await this.#fetch(of, layer, signal);
        const files = await this.#files.copies(bytes, audience, keyring);
        return [
          { name: versionOf(layer), source: `${sourceName(layer)} (Fleet ${whom})`, use, files },
        ];
      } catch (error) {
        // What the source has no more, nobody goes back to.
        if (use === "kept" && isCapitanError(error)) return [];
        throw error;
      }
    });
    return (await Promise.all(found)).flat();
  }

  /** All of a layer's source: what of it is read depends on the cluster. */
  #fetch(of: SourceReader, layer: RevisionLayer, signal: AbortSignal) {
    if (layer.git === undefined && layer.oci === undefined) return new Map<string, Buffer>();
    return this.#pulled.files(of, layer, versionOf(layer), signal);
  }

  /** What the hub has shown that is not written down yet: a key that it read back opens files at the tip, if any are for it. */
  #shown(
    { keys: { generations, uid }, tree, proofs, commit }: AskedManager,
    planted: ReadonlySet<string>,
  ): readonly Proof[] {
    const all = new Set(generations.map(({ identity }) => identity.recipient));
    const isUnused = tree.files.every(({ opens }) => opens.isDisjointFrom(all));
    const atMs = this.#options.clock.now().getTime();
    return generations.flatMap(({ generation, state, identity: { recipient } }) => {
      if (state !== "active" || !planted.has(recipient)) return [];
      if (proofs.some((proof) => proof.generation === generation && proof.uid === uid)) return [];
      const opens = isUnused || tree.files.some((file) => file.opens.has(recipient));
      return opens ? [{ generation, uid, revision: commit, atMs }] : [];
    });
  }
}

const namesShown = 3;

function namesOf(members: readonly FleetMember[]): string {
  const names = members.map((member) => clusterOf(member).name).sort();
  const more = names.length - namesShown;
  return `${names.slice(0, namesShown).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

const versionOf = ({ oci, git }: RevisionLayer): string => oci?.digest ?? git?.commit ?? "";
