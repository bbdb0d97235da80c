import { clusterCodes } from "./cluster-codes.ts";
import { secretCodes } from "./secret-codes.ts";
import { sourceCodes } from "./source-codes.ts";
import { templateCodes } from "./template-codes.ts";

/**
 * Every error code: what it means and what a person should do. A code is a condition reason, an
 * event reason, a log field and a word of the CLI at once. `retry: "never"` codes need a new spec
 * or a human; `retry: "backoff"` codes may go away by themselves.
 */
export const codes = { ...sourceCodes, ...secretCodes, ...clusterCodes, ...templateCodes } as const;

/** One of the codes above. */
export type Code = keyof typeof codes;
