import type { CommandModule } from "yargs";
import { copyArtifact } from "./copy-artifact.ts";
import { diffArtifact } from "./diff-artifact.ts";
import { discoverArtifact } from "./discover-artifact.ts";
import { listArtifacts } from "./list-artifacts.ts";
import { listRepositories } from "./list-repositories.ts";
import { pullArtifact } from "./pull-artifact.ts";
import { pushArtifact } from "./push-artifact.ts";
import { tagArtifact } from "./tag-artifact.ts";
import { verb } from "./verb.ts";

type Nouns = readonly CommandModule<object, never>[];

/** Everything that talks to registries and not to the hub. */
export const registryVerbs: CommandModule[] = [
  verb("push", "Push to a registry", [pushArtifact] as Nouns),
  verb("pull", "Pull from a registry", [pullArtifact] as Nouns),
  verb("tag", "Name what is in a registry", [tagArtifact] as Nouns),
  verb("list", "List what is in a registry", [listArtifacts, listRepositories] as Nouns),
  verb("diff", "Compare what is in a registry", [diffArtifact] as Nouns),
  verb("copy", "Copy between registries", [copyArtifact] as Nouns),
  verb("discover", "Find what refers to something in a registry", [discoverArtifact] as Nouns),
];
