import { readFile } from "node:fs/promises";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";

/** The text of a file that somebody named. Throws FileInvalid. */
export function textOfFile(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    throw new CapitanError("FileInvalid", `cannot read ${file}: ${messageOf(error)}`);
  });
}
