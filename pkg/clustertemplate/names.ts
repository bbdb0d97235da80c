import { CapitanError } from "../errors/index.ts";

/**
 * Cluster API names machines `<cluster>-<pool>-<10 characters>-<5 characters>`, labels are of 63: so
 * pools keep names of five characters and more.
 */
const nameCharsMax = 40;

/** How members of `target: Management` call the hub. */
const reserved = "management";

/** Checks the name of a new cluster. Throws NameInvalid. */
export function checkClusterName(name: string): void {
  const shown = JSON.stringify(name.slice(0, 80));
  if (name === reserved)
    throw new CapitanError(
      "NameInvalid",
      `the cluster name ${shown} is what the hub itself is called`,
    );
  if (name.length > nameCharsMax) {
    const what = `has ${name.length} characters; more than ${nameCharsMax} leave no room for the names of machines`;
    throw new CapitanError("NameInvalid", `the cluster name ${shown} ${what}`);
  }
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name))
    throw new CapitanError(
      "NameInvalid",
      `the cluster name ${shown} is not made of small letters, digits and dashes, from a letter to a letter or digit`,
    );
}
