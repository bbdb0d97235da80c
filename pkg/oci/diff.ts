import type { ArtifactFiles } from "./archive.ts";

/** One file that is not the same on both sides. */
export type FileChange = {
  readonly path: string;
  readonly change: "added" | "removed" | "changed";
};

/**
 * What must happen to the files of `from` to become those of `to`, by path. Content and the
 * executable bit count; how they are packed and compressed does not.
 */
export function diffFiles(from: ArtifactFiles, to: ArtifactFiles): readonly FileChange[] {
  const paths = [...new Set([...from.keys(), ...to.keys()])].sort();
  return paths.flatMap((path): readonly FileChange[] => {
    const [before, after] = [from.get(path), to.get(path)];
    if (before === undefined) return [{ path, change: "added" }];
    if (after === undefined) return [{ path, change: "removed" }];
    const same =
      before.content.equals(after.content) &&
      (before.executable === true) === (after.executable === true);
    return same ? [] : [{ path, change: "changed" }];
  });
}
