import { randomBytes } from "node:crypto";
import { text as readStream } from "node:stream/consumers";
import { CapitanError } from "../../pkg/errors/index.ts";
import { Conversation, isSomebodyThere } from "./ask.ts";

/** Options of every command that puts a new value into files. */
export const valueOptions = {
  generate: {
    type: "number",
    describe: "So many random bytes, as text of A-Z a-z 0-9 - and _",
  },
  each: {
    type: "boolean",
    default: false,
    describe: "With --generate: another value for each file",
  },
  "from-stdin": {
    type: "boolean",
    default: false,
    describe: "Read the value from stdin; one line break at its end is left out",
  },
} as const;

export type ValueArguments = {
  readonly generate?: number | undefined;
  readonly each: boolean;
  readonly "from-stdin": boolean;
};

const generatedMin = 8;
const generatedMax = 1_024;

/** What is wrong with these arguments; undefined when nothing is. */
export function wrongValueArguments(args: ValueArguments): string | undefined {
  const { generate, each, "from-stdin": fromStdin } = args;
  if (generate !== undefined && fromStdin) return "--generate or --from-stdin, not both";
  if (each && generate === undefined) return "--each goes with --generate";
  const isRight =
    generate === undefined ||
    (Number.isInteger(generate) && generate >= generatedMin && generate <= generatedMax);
  return isRight ? undefined : `--generate is a number from ${generatedMin} to ${generatedMax}`;
}

/**
 * The new value of each file: generated, from stdin, or asked for without echo. It is never an argument
 * of a program, and nobody prints it. Throws ParameterInvalid when there is none.
 */
export async function newValues(args: ValueArguments): Promise<(path: string) => string> {
  const { generate, each, "from-stdin": fromStdin } = args;
  if (generate === undefined) {
    const value = fromStdin
      ? (await readStream(process.stdin)).replace(/\r?\n$/, "")
      : await asked();
    if (value === "") throw new CapitanError("ParameterInvalid", "the value is empty");
    return () => value;
  }
  const made = new Map<string, string>();
  return (path) => {
    const key = each ? path : "";
    const value = made.get(key) ?? randomBytes(generate).toString("base64url");
    made.set(key, value);
    return value;
  };
}

async function asked(): Promise<string> {
  if (!isSomebodyThere())
    throw new CapitanError(
      "ParameterInvalid",
      "there is no value: --generate 32, or --from-stdin; nobody to ask here",
    );
  const conversation = new Conversation();
  try {
    const value = await conversation.ask("new value: ", { isSecret: true });
    const again = await conversation.ask("once more: ", { isSecret: true });
    if (value === again) return value;
    throw new CapitanError("ParameterInvalid", "the two are not the same: nothing was changed");
  } finally {
    conversation.close();
  }
}
