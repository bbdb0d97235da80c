import { CapitanError, type Code } from "../errors/index.ts";

/** The exit status of the `sops` command for the same trouble. */
export type SopsStatus = 1 | 2 | 23 | 25 | 51 | 92 | 111 | 128 | 203;

/** Trouble with a SOPS file. The message has names of keys and lines, never a value. */
export class SopsError extends CapitanError {
  readonly status: SopsStatus;

  constructor(code: Code, status: SopsStatus, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.status = status;
  }

  override within(noun: string): SopsError {
    return new SopsError(this.code, this.status, `${noun}: ${this.message}`, { cause: this });
  }
}

/** The text cannot be read as its format. */
export const unreadable = (message: string) => new SopsError("SopsFileInvalid", 2, message);

/** The metadata cannot be used. */
export const badMetadata = (message: string) => new SopsError("SopsFileInvalid", 1, message);

/** A limit of ours. */
export const tooLarge = (message: string) => new SopsError("SopsFileTooLarge", 2, message);

/** A name from a file, so that nothing in it can pass for our own words. */
export const quoted = (name: string) => JSON.stringify(name.slice(0, 100));
