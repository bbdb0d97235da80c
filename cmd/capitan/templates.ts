import { hubResources, type ClusterTemplate } from "../../pkg/api/index.ts";
import { isClusterTemplate, readClusterTemplate } from "../../pkg/clustertemplate/index.ts";
import { CapitanError, isCapitanError, type Code } from "../../pkg/errors/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { readFiles } from "./artifact-files.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { listOf } from "./listing.ts";

/** Options of every command that looks for templates. */
export const templateOptions = {
  ...hubOptions,
  file: {
    alias: "f",
    type: "string",
    describe: "File or directory with ClusterTemplates; without it those of the hub",
  },
  namespace: { alias: "n", type: "string", describe: "Only this namespace of the hub" },
} as const;

export type TemplateArguments = HubArguments & {
  readonly file?: string | undefined;
  readonly namespace?: string | undefined;
};

/** A template, or why it is none, and where it is. */
export type FoundTemplate = {
  readonly name: string;
  readonly where: string;
  readonly template?: ClusterTemplate;
  readonly problem?: { readonly code: Code; readonly message: string };
};

/** All templates of a file, a directory, or the hub, by name. Throws FileInvalid, ManifestInvalid. */
export async function findTemplates(args: TemplateArguments): Promise<readonly FoundTemplate[]> {
  if (args.file !== undefined) return templatesIn(textsOf(await readFiles(args.file)));
  return withHub(args, async (hub) => {
    const objects = await listOf(hub, hubResources.clusterTemplate, args);
    return objects.map((object) => {
      const { namespace = "", name } = object.metadata;
      return {
        name,
        where: `${namespace}/${name}`,
        template: object as unknown as ClusterTemplate,
      };
    });
  });
}

/** The template of this name. Throws NotFound with the names that there are, ClusterTemplateInvalid. */
export function chosenTemplate(all: readonly FoundTemplate[], name: string): ClusterTemplate {
  const [found, ...more] = all.filter((one) => one.name === name);
  if (found === undefined) {
    const known = all.map((one) => one.name).join(", ") || "none";
    throw new CapitanError("NotFound", `there is no ClusterTemplate ${name}; known: ${known}`);
  }
  if (more.length > 0) {
    const places = [found, ...more].map(({ where }) => where).join(", ");
    throw new CapitanError(
      "NotFound",
      `ClusterTemplate ${name} is there more than once: ${places}`,
    );
  }
  if (found.template !== undefined) return found.template;
  const { code = "ClusterTemplateInvalid", message = "" } = found.problem ?? {};
  throw new CapitanError(code, message);
}

/** The ClusterTemplates among the manifests of files, by name. Throws ManifestInvalid. */
export function templatesIn(files: ReadonlyMap<string, string>): readonly FoundTemplate[] {
  const found = [...files].flatMap(([file, text]) =>
    parseManifests(text, file)
      .filter(isClusterTemplate)
      .map((object): FoundTemplate => {
        const { name } = object.metadata;
        try {
          return { name, where: file, template: readClusterTemplate(object, file) };
        } catch (error) {
          if (!isCapitanError(error)) throw error;
          return { name, where: file, problem: { code: error.code, message: error.message } };
        }
      }),
  );
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Whether a file is YAML, by its name. */
export const isYamlPath = (path: string) => /\.ya?ml$/.test(path);

/** The YAML files among these, as text. */
function textsOf(
  files: ReadonlyMap<string, { readonly content: Uint8Array }>,
): ReadonlyMap<string, string> {
  const yaml = [...files].filter(([path]) => isYamlPath(path));
  return new Map(yaml.map(([path, { content }]) => [path, Buffer.from(content).toString("utf8")]));
}
