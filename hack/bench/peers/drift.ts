import { progress } from "../../lab/progress.ts";
import { resources } from "../../lab/resources.ts";
import { until } from "../../lab/wait.ts";
import type { Keeper } from "../contender.ts";
import { clientFor, type Ground, type Run } from "../ground.ts";

/** How long a peer is watched before somebody asks it. Capitan needs milliseconds. */
const patienceMs = 10_000;
const victim = { namespace: "flux-system", name: "source-controller" };

/** What became of an object that somebody deleted. */
export type PeerDrift = {
  /** Whether it was back without anybody asking. */
  readonly byItself: boolean;
  /** Length of the asked-for pass that put it back; undefined when it did not. */
  readonly askedMs: number | undefined;
};

/** Deletes a ServiceAccount in the first cluster of a run, waits, then asks the peer for a pass. */
export async function peerDrift(ground: Ground, peer: Keeper, run: Run): Promise<PeerDrift> {
  const [cluster] = run.clusters;
  if (cluster === undefined) throw new Error("there is no cluster");
  const client = await clientFor(ground.hub, cluster);
  const live = () => client.get(resources.serviceAccount, victim, { metadataOnly: true });
  const account = await live();
  if (account === undefined) throw new Error(`${victim.name} is not there`);
  await client.delete(resources.serviceAccount, account);
  const byItself = await until(live, { deadlineMs: patienceMs, what: victim.name }).then(
    () => true,
    () => false,
  );
  const passMs = byItself ? 0 : await peer.pass(run);
  const isBack = (await live()) !== undefined;
  await client.close();
  const asked = isBack ? `back after a pass of ${Math.round(passMs)} ms` : "not even when asked";
  progress.done(`${peer.name}, drift: ${byItself ? "back by itself" : asked}`);
  return { byItself, askedMs: isBack && !byItself ? passMs : undefined };
}
