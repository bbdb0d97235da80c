import { Range, compareBuild, parse } from "semver";

/**
 * The tag with the highest version in the range, or undefined. A leading v is ignored on both sides;
 * commas mean "and", as in Flux; pre-releases count only when the range names one. An exact version
 * is a range. Tags that are no version are skipped.
 */
export function selectVersion(tags: readonly string[], wanted: string): string | undefined {
  return versionsIn(tags, wanted)?.[0];
}

/** The tags whose version is in the range, the highest first: that one `selectVersion` takes. Undefined when it is no range. */
export function versionsIn(tags: readonly string[], wanted: string): readonly string[] | undefined {
  const range = parseRange(wanted);
  if (range === undefined) return undefined;
  const found = tags
    .map((tag) => ({ tag, version: parse(tag.replace(/^v/, "").replaceAll("_", "+")) }))
    .filter(({ version }) => version !== null && range.test(version));
  found.sort(
    (a, b) => compareBuild(b.version ?? "0.0.0", a.version ?? "0.0.0") || (a.tag < b.tag ? -1 : 1),
  );
  return found.map(({ tag }) => tag);
}

function parseRange(wanted: string): Range | undefined {
  const text = wanted.replaceAll(",", " ").replaceAll(/(^|[\s<>=~^|])v(?=\d)/g, "$1");
  try {
    return new Range(text, { includePrerelease: /\d-[0-9A-Za-z]/.test(text) });
  } catch {
    return undefined;
  }
}
