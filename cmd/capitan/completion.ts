import type { CommandModule } from "yargs";

/** How each shell asks `capitan --get-yargs-completions` for the words that may follow. */
const scripts = {
  bash: `_capitan() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(SHELL=bash capitan --get-yargs-completions "\${COMP_WORDS[@]}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _capitan capitan
`,
  zsh: `#compdef capitan
_capitan() {
  local -a words_found
  words_found=(\${(f)"$(COMP_CWORD="$((CURRENT-1))" COMP_LINE="$BUFFER" COMP_POINT="$CURSOR" capitan --get-yargs-completions "\${words[@]}" 2>/dev/null)"})
  _describe 'capitan' words_found
}
compdef _capitan capitan
`,
  fish: `complete -c capitan -f -a '(capitan --get-yargs-completions (commandline -opc) (commandline -ct) 2>/dev/null | string replace -r ":" "\\t")'
`,
  kubectl: `#!/bin/sh
# Save as kubectl_complete-capitan on the PATH: kubectl asks it what may follow "kubectl capitan".
capitan --get-yargs-completions capitan "$@" 2>/dev/null | sed 's/:.*//'
echo ":4"
`,
} as const;

/** `capitan completion SHELL` */
export const completion: CommandModule<object, { readonly shell: string }> = {
  command: "completion <shell>",
  describe: "Print the completion script of a shell, or of the kubectl plugin",
  builder: (y) =>
    y.positional("shell", {
      type: "string",
      demandOption: true,
      choices: Object.keys(scripts),
      describe: "Which shell",
    }),
  handler: ({ shell }) => {
    process.stdout.write(scripts[shell as keyof typeof scripts]);
  },
};
