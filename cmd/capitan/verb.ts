import type { CommandModule } from "yargs";

/** A verb with its nouns, each of which is a command of its own. */
export const verb = (
  command: string,
  describe: string,
  modules: readonly CommandModule<object, never>[],
): CommandModule => ({
  command,
  describe,
  builder: (y) =>
    modules
      .reduce((all, module) => all.command(module as CommandModule), y)
      .demandCommand(1, "what? see --help"),
  handler: () => undefined,
});
