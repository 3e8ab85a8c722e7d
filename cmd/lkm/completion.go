// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// completionTime bounds how long a shell waits for the names of modules.
const completionTime = 5 * time.Second

// A completer returns what can stand for a word that a person has begun to type.
type completer func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// complete gives every flag and argument of the commands what a shell offers for it. A command's own choice stays.
func (a *app) complete(root *cobra.Command) {
	flags := a.flagCompleters()
	for _, c := range append(root.Commands(), root) {
		for name, f := range flags {
			if flag := cmp.Or(c.Flags().Lookup(name), c.PersistentFlags().Lookup(name)); flag != nil {
				_ = c.RegisterFlagCompletionFunc(name, cobra.CompletionFunc(taken(flag, f))) // an error: it has one
			}
		}
		if _, wants, _ := strings.Cut(c.Use, " "); c.ValidArgsFunction == nil && !c.HasSubCommands() {
			c.ValidArgsFunction = cobra.CompletionFunc(a.argCompleter(strings.TrimSuffix(wants, "...")))
		}
	}
	if len(a.args) > 0 && a.args[0] == cobra.ShellCompRequestCmd {
		plainUsage(root)
	}
}

// taken returns the completer of a flag of a command: f, unless the command takes one value of it alone, or none.
func taken(flag *pflag.Flag, f completer) completer {
	does, ok := flag.Annotations[ignored]
	switch {
	case ok && does[0] != "":
		return fixed(does[0])
	case ok || flag.Hidden:
		return fixed()
	}
	return f
}

// plainUsage takes the quotes from the usage of every flag, which mark the word for its value: a shell prints the usage
// as it is.
func plainUsage(root *cobra.Command) {
	for _, c := range append(root.Commands(), root) {
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
		}
	}
}

// flagCompleters are the completers of flags by their names.
func (a *app) flagCompleters() map[string]completer {
	nothing := fixed()
	return map[string]completer{
		"color":  fixed(colorWords...),
		"format": fixed(formats...),
		"state":  fixed(states...),
		"os":     fixed(systemWords()...),
		"detail": list(func(string) []string { return detailWords() }),
		"fields": list(moduleFields),
		"field": func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			words := append(slices.Clone(modinfoWords), moduleFields(word)...)
			slices.Sort(words)
			return withPrefix(slices.Compact(words), word), cobra.ShellCompDirectiveNoFileComp
		},
		"tape":      a.completeTape,
		"kernel":    a.completeKernel,
		"upgrade":   a.completeKernel,
		"root":      directories,
		"catalogs":  directories,
		"blocklist": orFile(systemBlockList),
		"name":      nothing, "host": nothing, "prefix": nothing, "comment": nothing, "interval": nothing,
		"max-age": nothing,
		"buffer":  nothing, "heartbeat": nothing, "refresh": nothing,
	}
}

// argCompleter returns the completer of arguments that the usage line calls so.
func (a *app) argCompleter(wants string) completer {
	switch wants {
	case "":
		return fixed()
	case "[NAME...]", "NAME|FILE", "NAME|ALIAS|FILE", "NAME|ALIAS", "NAME", "ALIAS":
		return a.completeModule
	case "RELEASE":
		return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeKernel(c, args, word)
		}
	case "FILE|demo:NAME":
		return a.completeTape
	case "OLD NEW":
		return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			tapes, how := a.completeTape(c, args, word)
			return append(tapes, withPrefix([]string{thisMachine}, word)...), how
		}
	}
	return nil // files
}

// systemWords are the systems that an image may be of.
func systemWords() []string {
	words := make([]string, 0, 12)
	for _, os := range []lkm.OS{lkm.Linux, lkm.FreeBSD, lkm.DragonFly, lkm.NetBSD, lkm.Illumos, lkm.Solaris, lkm.AIX,
		lkm.Darwin, lkm.Windows} {
		words = append(words, string(os))
	}
	return words
}

// detailWords are the words of --detail.
func detailWords() []string {
	all, _ := lkm.ParseDetail("all") // a word that it knows
	return append(strings.Split(all.String(), ","), "all")
}

// fixed completes one of some words.
func fixed(words ...string) completer {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return withPrefix(words, word), cobra.ShellCompDirectiveNoFileComp
	}
}

// orFile completes one of some words, or a file.
func orFile(words ...string) completer {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return withPrefix(words, word), cobra.ShellCompDirectiveDefault
	}
}

func directories(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// list completes the last of several words with commas between them. What is in the list already is not offered.
func list(words func(last string) []string) completer {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		at := strings.LastIndexByte(word, ',') + 1
		given := strings.Split(word[:at], ",")
		var offers []string
		for _, w := range withPrefix(words(word[at:]), word[at:]) {
			if !slices.Contains(given, w) {
				offers = append(offers, word[:at]+w)
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func withPrefix(words []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, prefix) })
}

// completeTape offers the tapes that come with lkm, and files.
func (a *app) completeTape(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	if !strings.HasPrefix(word, "demo:") {
		return withPrefix([]string{"demo:"}, word), cobra.ShellCompDirectiveNoSpace
	}
	tapes := lkmtest.Names()
	for i := range tapes {
		tapes[i] = "demo:" + tapes[i]
	}
	return withPrefix(tapes, word), cobra.ShellCompDirectiveNoFileComp
}

// completeKernel offers the releases whose modules are on the machine that the flags name, and all for check.
func (a *app) completeKernel(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	fsys, err := a.files()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var lost facts.Report // what could not be read is not offered
	dirs, _ := modprobe.Releases(fsys, &lost)
	var words []string
	for _, d := range dirs {
		words = append(words, d.Release)
	}
	if c.Name() == "check" {
		words = append(words, "all")
	}
	return withPrefix(words, word), cobra.ShellCompDirectiveNoFileComp
}

// files are the files of the machine that the flags name.
func (a *app) files() (fs.FS, error) {
	if a.flags.tape != "" {
		return a.openTape(a.flags.tape)
	}
	return lkm.Dir(cmp.Or(a.flags.root, "/"))
}

// completeModule offers the names of the modules of the machine that the flags name, or files for a word that is a
// path. On Linux the names are spelled with dashes for who has typed one.
func (a *app) completeModule(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if strings.HasPrefix(word, ".") || isFile(word) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	ctx, stop := context.WithTimeout(c.Context(), completionTime)
	defer stop()
	a.flags.detail = ""
	known, err := a.catalog(ctx, 0, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range known.modules {
		m := &known.modules[i]
		name := m.Name
		if m.Kind == facts.KindLinuxModule && strings.Contains(word, "-") {
			name = strings.ReplaceAll(name, "_", "-")
		}
		if strings.HasPrefix(name, word) && !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// moduleFields are the JSON names of a module's fields at the level that a word has reached: "linux." has those of
// Linux.
func moduleFields(word string) []string {
	t := reflect.TypeFor[lkm.Module]()
	above := word[:strings.LastIndexByte(word, '.')+1]
	for _, name := range strings.Split(strings.TrimSuffix(above, "."), ".") {
		if name != "" {
			if t = fieldType(t, name); t == nil {
				return nil
			}
		}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" || !f.IsExported() {
			continue
		}
		if inner := pointed(f.Type); inner.Kind() == reflect.Struct && hasKeys(inner) {
			key += "."
		}
		names = append(names, above+key)
	}
	return names
}

// fieldType returns the type of a struct's field by its JSON name, or nil.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); key == name {
			return pointed(t.Field(i).Type)
		}
	}
	return nil
}

func pointed(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// hasKeys reports whether a struct is an object in JSON, and no number or time.
func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("json") != "" {
			return true
		}
	}
	return false
}
