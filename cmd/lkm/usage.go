// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kernelext/kernelext/internal/near"
)

// A usageError is an error in how the command was called, with the usage line of the command that it is about.
type usageError struct {
	text  string
	usage string
}

func (e *usageError) Error() string { return e.text }

// misuse returns a usageError about a command.
func misuse(c *cobra.Command, format string, args ...any) error {
	usage := strings.TrimSuffix(c.UseLine(), " [flags]")
	if c.HasAvailableSubCommands() {
		usage = c.CommandPath() + " COMMAND"
	}
	_, topic, _ := strings.Cut(c.CommandPath(), " ")
	return &usageError{
		text:  fmt.Sprintf(format, args...),
		usage: "usage: " + usage + " [flags]   (" + strings.TrimSpace("lkm help "+topic) + ")",
	}
}

// native returns the command that answers what a tool of one of the systems answers, which people know; or "".
func native(tool string) string {
	switch tool {
	case "lsmod", "kldstat", "kextstat", "kmutil", "driverquery", "modstat", "genkex", "fltmc", "ls":
		return "list"
	case "modinfo", "show":
		return "info"
	case "modprobe", "insmod", "kldload":
		return "plan"
	case "depmod":
		return "tree"
	case "devmatch":
		return "resolve"
	}
	return ""
}

// inOurWords makes every command of the tree answer wrong usage itself, in place of cobra's texts. Args of a command
// may only count its arguments: what they say is replaced.
func inOurWords(c *cobra.Command) {
	if c.HasParent() || c.Args != nil {
		count := c.Args
		c.Args = func(c *cobra.Command, args []string) error { return checkUsage(c, args, count) }
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse(c, "%s: missing argument: one of %s", c.Name(), strings.Join(subcommands(c), ", "))
			}
			return unknownCommand(c, args[0])
		}
	}
	for _, sub := range c.Commands() {
		inOurWords(sub)
	}
}

// checkUsage checks the number of arguments, and that no flags are given that exclude each other.
func checkUsage(c *cobra.Command, args []string, count cobra.PositionalArgs) error {
	if err := cmp.Or(excluded(c), withoutValue(c), withoutEffect(c)); err != nil {
		return err
	}
	if slices.Contains(args, "") {
		return misuse(c, "%s: an argument is empty", c.Name())
	}
	if count == nil || count(c, args) == nil {
		return nil
	}
	_, wants, _ := strings.Cut(c.Use, " ")
	switch {
	case wants == "" && c.Name() == "list" && strings.ContainsAny(args[0], "*?["):
		return misuse(c, "list takes no NAME; for those that match: lkm list --name '%s'", args[0])
	case wants == "" && c.Name() == "list":
		return misuse(c, "list takes no NAME; for one module: lkm info %s", args[0])
	case wants == "":
		return misuse(c, "%s takes no argument, and got %q", c.Name(), args[0])
	case len(args) == 0:
		return misuse(c, "%s: missing argument: %s", c.Name(), strings.TrimSuffix(wants, "..."))
	}
	return misuse(c, "%s wants %s, and got %d: %s", c.Name(), wants, len(args), strings.Join(args, " "))
}

// exclusive is cobra's annotation of the flags that exclude each other, a group a word.
const exclusive = "cobra_annotation_mutually_exclusive"

// excluded returns an error for two flags that were given and exclude each other.
func excluded(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		for _, group := range f.Annotations[exclusive] {
			for _, other := range strings.Fields(group) {
				if o := c.Flags().Lookup(other); err == nil && o != nil && o != f && o.Changed {
					err = misuse(c, "--%s and --%s exclude each other", f.Name, o.Name)
				}
			}
		}
	})
	return err
}

// withoutValue returns an error for a flag whose value is empty, as that of a variable which is not set: without it the
// question would be another one, of another machine. The prefix of facts may be empty, and so may the details: less is
// read then, of the same machine.
func withoutValue(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "prefix" && f.Name != "detail" ||
			f.Value.Type() == "stringSlice" && f.Value.String() == "[]"
		if empty && err == nil {
			err = misuse(c, "--%s: its value is empty", f.Name)
		}
	})
	return err
}

// ignored is the annotation of a flag that a command has and does not use. Its value is the one that says what the
// command does anyway, if one does.
const ignored = "lkm_ignored"

// ignore hides flags of a command that are without effect there, and makes them an error. Format is the one in which
// it prints.
func ignore(c *cobra.Command, format string, names ...string) {
	for _, name := range names {
		f := c.Flags().Lookup(name)
		f.Hidden = true
		f.Annotations = map[string][]string{ignored: {""}}
		if name == "format" {
			f.Annotations[ignored][0] = format
		}
	}
}

// withoutEffect returns an error for a flag that the command does not use.
func withoutEffect(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		does, ok := f.Annotations[ignored]
		switch {
		case !ok || err != nil || does[0] != "" && f.Value.String() == does[0]:
		case does[0] != "":
			err = misuse(c, "%s prints %s, and not --format %s", c.Name(), does[0], f.Value)
		default:
			err = misuse(c, "--%s is without effect on %s", f.Name, c.Name())
		}
	})
	return err
}

// subcommands are the names of the commands below one.
func subcommands(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// unknownCommand returns the error for a word that is not a command, with the command that may be meant.
func unknownCommand(c *cobra.Command, word string) error {
	if meant := native(word); meant != "" && !c.HasParent() {
		return misuse(c, "unknown command %q; did you mean lkm %s?", word, meant)
	}
	names := subcommands(c)
	like := near.Names(word, names)
	for _, name := range names { // a word that is cut off
		if len(word) > 1 && strings.HasPrefix(name, word) && !slices.Contains(like, name) {
			like = append(like, name)
		}
	}
	return misuse(c, "unknown command %q%s", word, didYouMean(c.CommandPath()+" ", like))
}

// didYouMean names what may be meant, each after prefix; it is empty when there is nothing like it.
func didYouMean(prefix string, like []string) string {
	if len(like) == 0 {
		return ""
	}
	return "; did you mean " + prefix + strings.Join(like, ", ") + "?"
}

// flagError returns pflag's error in our words.
func (a *app) flagError(c *cobra.Command, err error) error {
	if !c.HasParent() { // a wrong command hides behind its flags
		for _, arg := range a.args {
			if known, _, err := c.Find([]string{arg}); err == nil && known != c {
				break
			}
			if !strings.HasPrefix(arg, "-") {
				return unknownCommand(c, arg)
			}
		}
	}
	var unknown *pflag.NotExistError
	var valueless *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(c, unknown)
	case errors.As(err, &valueless):
		f := valueless.GetFlag()
		word, about := pflag.UnquoteUsage(f)
		return misuse(c, "--%s wants a value: %s: %s", f.Name, strings.ToUpper(word), about)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return misuse(c, "--%s %q is no %s", f.Name, invalid.GetValue(), valueKind(f.Value.Type()))
	}
	return misuse(c, "%v", err)
}

// valueKind returns the words for a type of pflag.
func valueKind(kind string) string {
	switch kind {
	case "duration":
		return "duration, such as 30s or 5m"
	case "bool":
		return "yes or no: true or false"
	case "int", "int64", "uint", "uint64":
		return "number that is possible here"
	}
	return kind
}

// unknownFlag returns the error for a flag that the command lacks, with those like it, or the commands that have it.
func unknownFlag(c *cobra.Command, e *pflag.NotExistError) error {
	name := "--" + e.GetSpecifiedName()
	short := e.GetSpecifiedShortnames() != ""
	if short {
		name = "-" + e.GetSpecifiedName()
	}
	text := fmt.Sprintf("unknown flag %s of %s", name, c.CommandPath())
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if like := near.Names(e.GetSpecifiedName(), names); !short && len(like) > 0 {
		return misuse(c, "%s%s", text, didYouMean("--", like))
	}
	var have []string
	for _, other := range c.Root().Commands() {
		f := other.Flags().Lookup(e.GetSpecifiedName())
		if short {
			f = other.Flags().ShorthandLookup(e.GetSpecifiedName()[:1])
		}
		if f != nil && other.IsAvailableCommand() && other.Name() != "help" {
			have = append(have, other.CommandPath())
		}
	}
	if len(have) > 0 && len(have) < 4 {
		text += "; " + strings.Join(have, ", ") + " has it"
	}
	return misuse(c, "%s", text)
}
