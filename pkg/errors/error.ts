import { codes, type Code } from "./codes.ts";

/**
 * The base of every error that Capitan raises on purpose. `message` says what, on which object;
 * it never contains a secret value. What to do is the remedy of the code.
 */
export class CapitanError extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CapitanError";
    this.code = code;
  }

  /** Whether trying again without a change by somebody can help. */
  get retry(): "never" | "backoff" {
    return codes[this.code].retry;
  }

  /** The same error with the noun that the caller knows in front: `layer flux: …`. */
  within(noun: string): CapitanError {
    return new CapitanError(this.code, `${noun}: ${this.message}`, { cause: this });
  }
}

/** Narrows a caught value. */
export function isCapitanError(error: unknown): error is CapitanError {
  return error instanceof CapitanError;
}

/** The text of any caught value, with the innermost cause's text when the outer one says little. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  return error.cause === undefined ? error.name : messageOf(error.cause);
}
