const directories = new Set([".git"]);
const names = new Set([".gitignore", ".gitmodules", ".gitattributes"]);
const endings = [".jpg", ".jpeg", ".gif", ".png", ".wmv", ".flv", ".tar.gz", ".zip"];

/** Whether `flux push artifact` leaves out this path by default. */
export function ignoredByPush(path: string): boolean {
  const parts = path.split("/");
  const name = parts.at(-1) ?? "";
  return (
    parts.some((part) => directories.has(part)) ||
    names.has(name) ||
    endings.some((ending) => name.endsWith(ending))
  );
}
