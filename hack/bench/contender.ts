import type { Run } from "./ground.ts";

/** Whoever brings the objects of Flux into clusters: Capitan, a bare apply, a peer. */
export type Contender = {
  readonly name: string;
  /** Gets ready what is not measured: connections, manifests on the hub. */
  prepare(run: Run): Promise<void>;
  /** Asks for the objects in all clusters of the run. What is measured starts here. */
  install(run: Run): Promise<void>;
  /** Takes away what `prepare` and `install` made on the hub. The clusters are gone by then. */
  remove(run: Run): Promise<void>;
};

/** A contender that keeps clusters as they are. */
export type Keeper = Contender & {
  /** The name under which the lab runs its process. */
  readonly process: string;
  /** Whether a request in an audit log is its own. */
  isOwn(userAgent: string): boolean;
  /** Whether a write on the hub only answers that somebody asked for a pass. */
  isAnswer(resource: string): boolean;
  /** Returns when the run's clusters are as they shall be, by its own account. */
  settled(run: Run): Promise<void>;
  /** Asks for a look at every cluster of the run; gives the milliseconds until it has looked. */
  pass(run: Run): Promise<number>;
};
