import type { CommandModule } from "yargs";
import { lintTemplate } from "../../pkg/clustertemplate/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { chance } from "./secret-keys.ts";
import { configOptions, findConfig, type ConfigArguments } from "./sops-config.ts";
import { findTemplates, templateOptions, type TemplateArguments } from "./templates.ts";
import { clean, outputOption, printed } from "./text.ts";

type Arguments = TemplateArguments & ConfigArguments & { readonly output: string };

/** `capitan template lint` */
export const templateLint: CommandModule<object, Arguments> = {
  command: "lint",
  describe: "Look for what is wrong with ClusterTemplates; exit 1 when something is",
  builder: (y) =>
    y
      .options({ ...templateOptions, ...configOptions, ...outputOption })
      .example("$0 template lint -f management/templates", "For CI"),
  handler: lint,
};

async function lint(args: Arguments): Promise<void> {
  const found = await findTemplates(args);
  if (found.length === 0) throw new CapitanError("NotFound", "there is no ClusterTemplate");
  const sops = (await findConfig(args))?.text;
  if (sops === undefined)
    process.stderr.write("no .sops.yaml: not looked at is whether secrets are encrypted\n");
  const results: { name: string; where: string; problems: readonly string[] }[] = [];
  for (const { name, where, template, problem } of found) {
    const problems =
      template === undefined
        ? [problem?.message ?? ""]
        : await lintTemplate(template, sops, chance);
    results.push({ name, where, problems });
  }
  process.stdout.write(printed(results, args.output, () => clean(results.map(lineOf).join(""))));
  if (results.some(({ problems }) => problems.length > 0)) process.exitCode = 1;
}

function lineOf({
  name,
  where,
  problems,
}: {
  name: string;
  where: string;
  problems: readonly string[];
}) {
  const lines = problems.map((problem) => `  ${problem}\n`).join("");
  return `${problems.length === 0 ? "✔" : "✗"} ${name} (${where})\n${lines}`;
}
