import type { CommandModule } from "yargs";
import type { ClusterTemplate } from "../../pkg/api/index.ts";
import {
  parametersOf,
  templateDigest,
  type NamedParameter,
} from "../../pkg/clustertemplate/index.ts";
import { asList } from "../../pkg/json/index.ts";
import {
  chosenTemplate,
  findTemplates,
  templateOptions,
  type TemplateArguments,
} from "./templates.ts";
import { clean, outputOption, printed, table } from "./text.ts";

type Arguments = TemplateArguments & { readonly name: string; readonly output: string };

/** `capitan template describe NAME` */
export const templateDescribe: CommandModule<object, Arguments> = {
  command: "describe <name>",
  describe: "Show what a ClusterTemplate asks for and what it makes",
  builder: (y) =>
    y
      .options({ ...templateOptions, ...outputOption })
      .positional("name", { type: "string", demandOption: true, describe: "The ClusterTemplate" }),
  handler: async (args) => {
    const template = chosenTemplate(await findTemplates(args), args.name);
    const { spec } = template;
    const result = { name: args.name, digest: templateDigest(template), ...spec };
    process.stdout.write(printed(result, args.output, () => textOf(template)));
  },
};

function textOf(template: ClusterTemplate): string {
  const { description = "", files } = template.spec;
  const rows = parametersOf(template).map((parameter) => [
    parameter.name,
    parameter.type,
    needOf(parameter),
    rulesOf(parameter),
    parameter.description ?? "",
  ]);
  const head = `${template.metadata.name}  ${templateDigest(template)}\n${description}\n\n`;
  const made = files.map(
    ({ path, when }) => `  ${path}${when === undefined ? "" : ` (when ${when})`}\n`,
  );
  const headers = ["parameter", "type", "value", "rules", "description"];
  return `${clean(head)}${table(headers, rows, 0)}\nFiles\n${clean(made.join(""))}`;
}

/** What happens when nobody gives it. */
function needOf({ default: otherwise, required = false, secret = false }: NamedParameter): string {
  if (otherwise !== undefined) return JSON.stringify(otherwise);
  const need = required ? "required" : "optional";
  return secret ? `${need}, secret` : need;
}

function rulesOf(parameter: NamedParameter): string {
  const { enum: words, pattern, minimum, maximum, minLength, maxLength } = parameter;
  const range = (least: number | undefined, most: number | undefined, what: string) =>
    least === undefined && most === undefined ? [] : [`${least ?? ""}…${most ?? ""}${what}`];
  return [
    ...(words === undefined ? [] : [asList(words).map(String).join("|")]),
    ...(pattern === undefined ? [] : [pattern]),
    ...range(minimum, maximum, ""),
    ...range(minLength, maxLength, parameter.type === "array" ? " items" : " characters"),
  ].join(", ");
}
