import { text as readStream } from "node:stream/consumers";
import type { Options } from "yargs";
import type { ClusterTemplate } from "../../pkg/api/index.ts";
import {
  missingParameters,
  parametersOf,
  parseParameter,
  problemsOf,
  type NamedParameter,
} from "../../pkg/clustertemplate/index.ts";
import { CapitanError, isCapitanError } from "../../pkg/errors/index.ts";
import type { Json, JsonMap } from "../../pkg/json/index.ts";
import { mergeValues, parseValues } from "../../pkg/template/index.ts";
import { Conversation, isSomebodyThere } from "./ask.ts";
import { textOfFile } from "./file-text.ts";
import { chance } from "./secret-keys.ts";

/** Options of every command that takes parameters of a template. */
export const parameterOptions = {
  set: {
    type: "string",
    array: true,
    nargs: 1,
    describe: "NAME=VALUE, a parameter; may be repeated; of a list a,b",
  },
  values: {
    type: "string",
    array: true,
    nargs: 1,
    describe: "YAML file with parameters; may be repeated, --set wins",
  },
  "set-file": {
    type: "string",
    array: true,
    nargs: 1,
    describe: "NAME=FILE, a parameter's value from a file, - for stdin: the way for secrets",
  },
  generate: {
    type: "string",
    array: true,
    nargs: 1,
    describe: "NAME, a secret parameter that gets a random value of 32 characters",
  },
} as const satisfies Record<string, Options>;

/** The names of those that may be repeated. */
export const repeatedParameters = Object.keys(parameterOptions);

export type ParameterArguments = {
  readonly set?: readonly string[] | undefined;
  readonly values?: readonly string[] | undefined;
  readonly "set-file"?: readonly string[] | undefined;
  readonly generate?: readonly string[] | undefined;
};

/**
 * What was given on the command line, secrets only where no shell history and no file in Git has them.
 * Throws ParameterInvalid, FileInvalid, ManifestInvalid, InputInvalid.
 */
export async function givenParameters(
  template: ClusterTemplate,
  args: ParameterArguments,
): Promise<JsonMap> {
  const files = await Promise.all(
    (args.values ?? []).map(async (file) => parseValues(await textOfFile(file), file)),
  );
  const values = mergeValues(files);
  const open = {
    ...values,
    ...Object.fromEntries((args.set ?? []).map((t) => pairOf(template, t))),
  };
  refuseOpenSecrets(template, Object.keys(open));
  const closed = await Promise.all((args["set-file"] ?? []).map((t) => filePairOf(template, t)));
  const made = (args.generate ?? []).map((name) => generated(template, name));
  return { ...open, ...Object.fromEntries([...closed, ...made]) };
}

/** The same, and whatever is missing then from the person who is there, if there is one. */
export async function askedParameters(template: ClusterTemplate, given: JsonMap): Promise<JsonMap> {
  const missing = missingParameters(template, given);
  if (missing.length === 0 || !isSomebodyThere()) return given;
  const conversation = new Conversation();
  try {
    const answers: [string, Json][] = [];
    for (const parameter of missing)
      answers.push([parameter.name, await answerOf(conversation, parameter)]);
    return { ...given, ...Object.fromEntries(answers) };
  } finally {
    conversation.close();
  }
}

/** Asks until the answer will do. */
async function answerOf(conversation: Conversation, parameter: NamedParameter): Promise<Json> {
  const { name, description, enum: words, secret: isSecret = false } = parameter;
  const choices = words === undefined ? [] : [words.map(String).join(", ")];
  const about = [...(description === undefined ? [] : [description]), ...choices].join("; ");
  const question = `${name}${about === "" ? "" : ` (${about})`}: `;
  for (;;) {
    const text = await conversation.ask(question, { isSecret });
    const problem = problemOf(parameter, text);
    if (problem === undefined) return parseParameter(parameter, text);
    process.stderr.write(`  ✗ ${problem}\n`);
  }
}

function problemOf(parameter: NamedParameter, text: string): string | undefined {
  if (text === "") return `${parameter.name}: is missing`;
  try {
    return problemsOf(parameter, parseParameter(parameter, text))[0];
  } catch (error) {
    if (isCapitanError(error)) return error.message;
    throw error;
  }
}

function pairOf(template: ClusterTemplate, text: string): readonly [string, Json] {
  const [name, value] = split(text, "--set");
  const parameter = named(template, name);
  // What is wrong with a name that is not there is said with everything else.
  if (parameter === undefined || parameter.secret === true) return [name, ""];
  return [name, parseParameter(parameter, value)];
}

async function filePairOf(
  template: ClusterTemplate,
  text: string,
): Promise<readonly [string, Json]> {
  const [name, file] = split(text, "--set-file");
  const content = file === "-" ? await readStream(process.stdin) : await textOfFile(file);
  const value = content.replace(/\r?\n$/, "");
  const parameter = named(template, name);
  return [name, parameter === undefined ? "" : parseParameter(parameter, value)];
}

function generated(template: ClusterTemplate, name: string): readonly [string, Json] {
  if (named(template, name)?.secret === true)
    return [name, chance.random(24).toString("base64url")];
  const what = "is no secret parameter: only those can be generated";
  throw new CapitanError("ParameterInvalid", `--generate ${name.slice(0, 64)}: ${what}`);
}

function refuseOpenSecrets(template: ClusterTemplate, names: readonly string[]): void {
  const secret = names.filter((name) => named(template, name)?.secret === true);
  if (secret.length === 0) return;
  const what = "is secret: say --set-file NAME=FILE or --generate NAME, where no history keeps it";
  throw new CapitanError("ParameterInvalid", `${secret.join(", ")}: ${what}`);
}

const named = (template: ClusterTemplate, name: string) =>
  parametersOf(template).find((parameter) => parameter.name === name);

function split(text: string, option: string): readonly [string, string] {
  const cut = text.indexOf("=");
  if (cut > 0) return [text.slice(0, cut), text.slice(cut + 1)];
  // The text may be a secret that somebody has put in the wrong place.
  throw new CapitanError("ParameterInvalid", `${option} is written NAME=VALUE`);
}
