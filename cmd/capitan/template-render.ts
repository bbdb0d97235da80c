import type { CommandModule } from "yargs";
import type { ClusterTemplate } from "../../pkg/api/index.ts";
import {
  checkClusterName,
  completeParameters,
  parametersOf,
  renderFiles,
} from "../../pkg/clustertemplate/index.ts";
import type { JsonMap } from "../../pkg/json/index.ts";
import {
  askedParameters,
  givenParameters,
  parameterOptions,
  repeatedParameters,
} from "./parameters.ts";
import type { ParameterArguments } from "./parameters.ts";
import { repeatable } from "./repeatable.ts";
import {
  chosenTemplate,
  findTemplates,
  templateOptions,
  type TemplateArguments,
} from "./templates.ts";
import { clean, outputOption, printed } from "./text.ts";

type Arguments = TemplateArguments &
  ParameterArguments & {
    readonly name: string;
    readonly cluster: string;
    readonly output: string;
  };

const { set, values } = parameterOptions;
const masked = "(masked)";

/** `capitan template render NAME --cluster C` */
export const templateRender: CommandModule<object, Arguments> = {
  command: "render <name>",
  describe:
    "Print the files that a ClusterTemplate makes, without a repository; secrets are masked",
  builder: (y) =>
    repeatable(y, ...repeatedParameters)
      .options({
        ...templateOptions,
        set,
        values,
        cluster: { type: "string", default: "example", describe: "Name of the cluster" },
        ...outputOption,
      })
      .positional("name", { type: "string", demandOption: true, describe: "The ClusterTemplate" }),
  handler: render,
};

async function render(args: Arguments): Promise<void> {
  checkClusterName(args.cluster);
  const template = chosenTemplate(await findTemplates(args), args.name);
  const given = await askedParameters(
    withoutSecrets(template),
    await givenParameters(template, args),
  );
  const { namespace = template.metadata.namespace ?? "fleet" } = args;
  const cluster = { name: args.cluster, namespace };
  const files = renderFiles(template, {
    cluster,
    parameters: { ...completeParameters(withoutSecrets(template), given), ...secretsOf(template) },
    identity: { recipient: "age1example", secret: maskedIdentity(cluster) },
  });
  const shown = files.map(({ path, content }) => ({ path, content }));
  const text = () => files.map(({ path, content }) => `# ${path}\n${clean(content)}`).join("---\n");
  process.stdout.write(printed(shown, args.output, text));
}

/** The template without its secret parameters, for which nobody is asked here. */
function withoutSecrets(template: ClusterTemplate): ClusterTemplate {
  const open = Object.entries(template.spec.parameters ?? {}).filter(([, p]) => p.secret !== true);
  return { ...template, spec: { ...template.spec, parameters: Object.fromEntries(open) } };
}

function secretsOf(template: ClusterTemplate): JsonMap {
  const secret = parametersOf(template).filter((parameter) => parameter.secret === true);
  return Object.fromEntries(secret.map(({ name }) => [name, masked]));
}

function maskedIdentity({ name, namespace }: { name: string; namespace: string }): JsonMap {
  const metadata = { name: `${name}-age-1`, namespace };
  return { apiVersion: "v1", kind: "Secret", metadata, data: { identity: masked } };
}
