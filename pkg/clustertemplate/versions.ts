import { compare, parse, type SemVer } from "semver";
import { CapitanError } from "../errors/index.ts";

/** Checks that Kubernetes can go from one version to another: up, and over no minor. Throws VersionRefused. */
export function checkVersionChange(from: string, to: string): void {
  if (from === to) return;
  const [before, after] = [versionOf(from), versionOf(to)];
  if (compare(after, before) < 0) throw refused(`${from} to ${to} is a downgrade`);
  if (after.major !== before.major) throw refused(`${from} to ${to} is another major version`);
  if (after.minor <= before.minor + 1) return;
  const next = `v${before.major}.${before.minor + 1}`;
  throw refused(`${from} to ${to} skips ${next}: go to ${next} first`);
}

/** `v1.36.3`, or `v1.36` as managed control planes have it. */
function versionOf(text: string): SemVer {
  const [, minor] = /^v?(\d+\.\d+)$/.exec(text) ?? [];
  const version = parse(minor === undefined ? text : `${minor}.0`);
  if (version !== null) return version;
  throw refused(`${JSON.stringify(text.slice(0, 40))} is no version such as v1.36.3`);
}

const refused = (what: string) => new CapitanError("VersionRefused", `Kubernetes ${what}`);
