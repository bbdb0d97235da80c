import { ownEntry, type ObjectMeta } from "../object/index.ts";

/**
 * Whether our apply created the object, judged from the object alone, for when the reply (201 or
 * 200) was lost. We created it when our entry is as old as the object and nobody else's is.
 */
export function createdByUs(metadata: ObjectMeta): boolean {
  const entry = ownEntry(metadata);
  const born = metadata.creationTimestamp;
  if (entry?.time === undefined || born === undefined || entry.time !== born) return false;
  return !(metadata.managedFields ?? []).some(
    (f) => f !== entry && !f.subresource && f.time !== undefined && f.time <= born,
  );
}
