import { parallel } from "../../pkg/pace/index.ts";
import { showProgress } from "./progress.ts";

/** So many are asked at once: of more, those that answer would be late because of each other's TLS. */
const atOnce = 32;

/**
 * Does `work` for each cluster, 32 at once, and tells a person at a terminal how far it is. The results
 * are in the order of the clusters. Throws what `work` throws; nothing new is begun then.
 */
export async function eachCluster<T, R>(
  clusters: readonly T[],
  work: (cluster: T) => Promise<R>,
): Promise<readonly R[]> {
  let asked = 0;
  try {
    return await parallel(clusters, atOnce, async (cluster) => {
      const result = await work(cluster);
      asked += 1;
      showProgress(`… ${asked} of ${clusters.length} clusters have been asked`);
      return result;
    });
  } finally {
    showProgress("");
  }
}
