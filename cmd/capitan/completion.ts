import type { CommandModule } from "yargs";

/** How each shell asks `capitan --get-yargs-completions` for the words that may follow. */
const scripts = {
  bash: `_capitan() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(SHELL=bash capitan --get-yargs-completions "\${COMP_WORDS[@]}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _capitan capitan
`,
  // Loaded from fpath the file is the function itself, which the first Tab runs.
  zsh: `#compdef capitan
_capitan() {
  local -a found
  found=(\${(f)"$(SHELL=zsh capitan --get-yargs-completions "\${(@)words[1,CURRENT]}" 2>/dev/null)"})
  if (( \${#found} )); then _describe 'capitan' found; else _files; fi
}
if [[ "\${funcstack[1]}" == _capitan ]]; then _capitan; else compdef _capitan capitan; fi
`,
  fish: `function _capitan
  set -l found (env SHELL=fish capitan --get-yargs-completions (commandline -opc) (commandline -ct) 2>/dev/null)
  if set -q found[1]
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c capitan -f -a '(_capitan)'
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
