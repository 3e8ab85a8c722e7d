// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// completionHelp gives the command completion, which the library makes, the words of this program.
func completionHelp(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Use = "completion SHELL"
		c.Short = "Print a script that completes commands, flags, module names and tapes in a shell"
		c.Long = `Print a script that completes commands, flags, values, module names, kernel releases and demo tapes
in a shell: bash, fish, powershell or zsh. The packages install it; without them the help of each
shell says how.`
		for _, shell := range c.Commands() {
			shell.Short = "Print the completion script of " + shell.Name()
			shell.Long = fmt.Sprintf("Print the completion script of %s.%s", shell.Name(), completionUse(shell.Name()))
			if f := shell.Flags().Lookup("no-descriptions"); f != nil {
				f.Usage = "complete without a description beside each word"
			}
		}
	}
}

// completionUse says how a shell reads its script.
func completionUse(shell string) string {
	switch shell {
	case "bash":
		return " It needs the package bash-completion.\n\n" +
			"In this shell:     source <(lkm completion bash)\n" +
			"In every new one:  lkm completion bash > /etc/bash_completion.d/lkm"
	case "zsh":
		return " It needs \"autoload -U compinit; compinit\" in ~/.zshrc.\n\n" +
			"In this shell:     source <(lkm completion zsh)\n" +
			"In every new one:  lkm completion zsh > \"${fpath[1]}/_lkm\""
	case "fish":
		return "\n\nIn this shell:     lkm completion fish | source\n" +
			"In every new one:  lkm completion fish > ~/.config/fish/completions/lkm.fish"
	}
	return "\n\nIn this shell:     lkm completion powershell | Out-String | Invoke-Expression\n" +
		"In every new one:  put that line into the profile, $PROFILE"
}
