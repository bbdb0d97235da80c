import type { CommandModule } from "yargs";
import { parametersOf, templateDigest } from "../../pkg/clustertemplate/index.ts";
import { findTemplates, templateOptions, type TemplateArguments } from "./templates.ts";
import { foundTable, outputOption, printed } from "./text.ts";

type Arguments = TemplateArguments & { readonly output: string };

/** `capitan template list` */
export const templateList: CommandModule<object, Arguments> = {
  command: "list",
  describe: "List ClusterTemplates of the hub, or of files",
  builder: (y) => y.options({ ...templateOptions, ...outputOption }),
  handler: async (args) => {
    const found = await findTemplates(args);
    const items = found.map(({ name, where, template, problem }) => ({
      name,
      where,
      parameters: template === undefined ? [] : parametersOf(template).map((p) => p.name),
      digest: template === undefined ? "" : templateDigest(template),
      description: template?.spec.description ?? problem?.message ?? "",
    }));
    const rows = items.map(({ name, where, parameters, digest, description }) => [
      name,
      where,
      String(parameters.length),
      digest.slice(7, 19),
      description,
    ]);
    const headers = ["template", "where", "parameters", "digest", "description"];
    process.stdout.write(printed(items, args.output, () => foundTable("templates", headers, rows)));
  },
};
