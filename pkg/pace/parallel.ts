/** Runs `work` over all items, at most `width` at a time, and gives the results in order. The first failure is thrown after all have ended. */
export async function parallel<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length && failures.length === 0; i = next++) {
      const item = items[i];
      if (item === undefined) continue;
      try {
        results[i] = await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0)
    throw failures[0] instanceof Error ? failures[0] : new Error(String(failures[0]));
  return results;
}
