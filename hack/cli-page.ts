import { cli, commands } from "../cmd/capitan/commands.ts";

const intro = `<!-- Generated from cmd/capitan by npm run format. -->

# CLI

\`npm run --silent capitan -- ARGS\` runs it from a clone. The hub is found by \`--kubeconfig\` and \`--context\`,
\`KUBECONFIG\` (one file or several, as for kubectl), the pod's ServiceAccount or \`~/.kube/config\`.
Results go to stdout; progress and errors to stderr, progress and colours on a terminal only. Errors
start with their [code](errors.md) and end with what to do.

| exit code | meaning |
|---|---|
| 0 | done; for \`diff\`: there is nothing to change |
| 1 | failed; for \`diff\`: there is something to change; for \`check\`: something is wrong |
| 2 | wrong usage; for \`diff\`: failed |
| 130, 143 | ended by Ctrl-C, by SIGTERM; what a command only waits for goes on all the same |
| as sops | for \`secrets\`: 1 metadata, rules; 2 not readable; 25 a value; 51 the MAC; 111 no recipient; 128 no identity; 200 nothing edited; 203 already encrypted |

As a kubectl plugin: link \`capitan\` as \`kubectl-capitan\` on the PATH, then \`kubectl capitan get fleets\`.
\`capitan completion bash|zsh|fish|kubectl\` prints what makes the Tab key work:

\`\`\`sh
source <(capitan completion bash)
capitan completion zsh > "\${fpath[1]}/_capitan"
capitan completion fish > ~/.config/fish/completions/capitan.fish
capitan completion kubectl > ~/.local/bin/kubectl_complete-capitan
\`\`\`

The controller: \`node cmd/controller/main.ts --help\`.
`;

/** docs/cli.md: every command as its own help tells it. */
export async function cliPage(): Promise<string> {
  const names = commands.flatMap((command) =>
    "module" in command
      ? [nameOf(command.module.command)]
      : command.nouns.map((noun) => `${command.verb} ${nameOf(noun.command)}`),
  );
  const sections: string[] = [];
  for (const name of names)
    sections.push(`## capitan ${name}\n\n\`\`\`\n${await helpOf(name.split(" "))}\n\`\`\`\n`);
  return `${intro}\n${sections.join("\n")}`;
}

/** The words of a command before its arguments. */
function nameOf(command: string | readonly string[] | undefined): string {
  const text = typeof command === "string" ? command : (command?.[0] ?? "");
  return text.split(" ")[0] ?? "";
}

function helpOf(words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    void cli([])
      .wrap(100)
      .parse([...words, "--help"], (error: unknown, _: unknown, output: string) =>
        error instanceof Error ? reject(error) : resolve(output.trim()),
      );
  });
}
