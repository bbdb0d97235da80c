import { CapitanError } from "../errors/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";

/** The files of a source by what becomes of them. */
export type SortedFiles = {
  /** Manifests that are applied as they are. */
  readonly plain: ArtifactFiles;
  /** Manifests that are encrypted with SOPS. */
  readonly encrypted: ArtifactFiles;
  /** Templates of manifests, by their path with `.hbs`. */
  readonly templates: ArtifactFiles;
};

const manifestFile = /\.(ya?ml|json)$/i;
const templateFile = /\.hbs$/;

/** The files in a directory of a source, `./` for all. Throws PathNotFound, with the same words for what is outside. */
export function filesUnder(files: ArtifactFiles, directory: string): ArtifactFiles {
  const prefix = prefixOf(directory);
  if (prefix === "") return files;
  const found = [...files].filter(([path]) => path.startsWith(prefix));
  if (found.length === 0) throw missing(directory);
  return new Map(found);
}

/** One file of a source. Throws PathNotFound. */
export function fileAt(files: ArtifactFiles, path: string): Buffer {
  const found = files.get(prefixOf(path).replace(/\/$/, ""));
  if (found === undefined) throw missing(path);
  return found.content;
}

const missing = (path: string) =>
  new CapitanError("PathNotFound", `the source has no file at ${JSON.stringify(path)}`);

/** `./a//b/` as `a/b/`; empty for the root. Throws PathNotFound for what leads out. */
function prefixOf(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (path.startsWith("/") || path.includes("\\") || parts.includes("..")) throw missing(path);
  return parts.map((part) => `${part}/`).join("");
}

/** Sorts manifests and templates; everything else in a source is of no concern. Throws TemplateInvalid for a template of nothing. */
export function sortFiles(
  files: ArtifactFiles,
  isEncrypted: (content: Buffer, path: string) => boolean,
): SortedFiles {
  const entries = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  const lost = entries.find(([path]) => templateFile.test(path) && !isManifestTemplate(path));
  if (lost !== undefined) {
    const what = `${lost[0]}: a template of a manifest is named *.yaml.hbs, *.yml.hbs or *.json.hbs`;
    throw new CapitanError("TemplateInvalid", what);
  }
  const manifests = entries.filter(([path]) => manifestFile.test(path));
  const encrypted = manifests.filter(([path, { content }]) => isEncrypted(content, path));
  const names = new Set(encrypted.map(([path]) => path));
  return {
    plain: new Map(manifests.filter(([path]) => !names.has(path))),
    encrypted: new Map(encrypted),
    templates: new Map(entries.filter(([path]) => isManifestTemplate(path))),
  };
}

/** Whether it is a template whose result is a manifest. */
function isManifestTemplate(path: string): boolean {
  return templateFile.test(path) && manifestFile.test(path.replace(templateFile, ""));
}
