/** The one error base and the closed list of codes that conditions, events, logs and the CLI share. */
export { CapitanError, isCapitanError, messageOf } from "./error.ts";
export { codes, type Code } from "./codes.ts";
