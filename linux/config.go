// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Config returns modprobe's configuration. With lint it has the lines that do nothing for the kernels in question: the
// one asked for, else all of the machine; also words of boot entries' command lines.
func (k *Kernel) Config(ctx context.Context, lint bool, r *fact.Report) (*fact.Config, error) {
	own := r.Part()
	trees, err := k.configTrees(ctx, own)
	if err != nil {
		return nil, err
	}
	c := &fact.Config{Files: []string{}, Settings: []fact.Setting{}}
	var config *modprobe.Config
	if len(trees) == 1 || len(trees) > 1 && k.live() {
		config, c.Release = trees[0].Config(), trees[0].Release
	} else {
		config = modprobe.ReadConfig(k.machine, modprobe.ConfigDirs, "", k.live())
	}
	for _, file := range config.Files {
		c.Files = append(c.Files, slash(file))
	}
	for _, verb := range modprobe.Verbs {
		for _, d := range config.Lines(verb) {
			s := fact.Setting{Directive: verb, Name: d.Name, Value: d.Value, File: slash(d.File), Line: d.Line}
			c.Settings = append(c.Settings, s)
		}
	}
	config.Report(own)
	if lint {
		c.Idle = k.idleLines(config, trees, own)
	}
	c.Problems = slices.DeleteFunc(slices.Clone(own.Problems), modprobe.Ignored)
	r.Append(own)
	return c, ctx.Err()
}

// idleLines returns the lines of the configuration, the files and the words of command lines that do nothing.
func (k *Kernel) idleLines(config *modprobe.Config, trees []*modprobe.Tree, r *fact.Report) []fact.IdleLine {
	idle := slices.Concat(config.Lint(trees, r), modprobe.IdleFiles(k.machine, modprobe.ConfigDirs, r), k.idleWords(r))
	for i := range idle {
		idle[i].File, idle[i].Reason.File = slash(idle[i].File), slash(idle[i].Reason.File)
	}
	if idle == nil {
		return []fact.IdleLine{}
	}
	return idle
}

// configTrees returns the trees of modules that a configuration is for: of a running machine first its kernel's.
func (k *Kernel) configTrees(ctx context.Context, r *fact.Report) ([]*modprobe.Tree, error) {
	release := k.options.Kernel
	if release != "" && release != fact.KernelAll {
		t, err := k.treeOf(ctx, release)
		if err != nil {
			return nil, err
		}
		return []*modprobe.Tree{t}, nil
	}
	var trees []*modprobe.Tree
	if k.live() {
		t, err := k.tree(ctx, r)
		if err != nil {
			r.Problem(SourceTree, "", "idle", err)
			return nil, nil // what is idle is not known without the running kernel's modules
		}
		trees = append(trees, t)
	}
	dirs, err := modprobe.Releases(k.machine, r)
	if err != nil {
		r.Problem(SourceTree, "", "idle", err)
		return nil, nil
	}
	for _, dir := range dirs {
		if t := k.treeAt(dir); !slices.Contains(trees, t) {
			trees = append(trees, t)
		}
	}
	return trees, nil
}

// idleWords returns the names in a command line's module_blacklist= that stop nothing: the kernel's blacklisted()
// compares letter by letter with a module's own name, in which the build puts underscores.
func (k *Kernel) idleWords(r *fact.Report) (idle []fact.IdleLine) {
	add := func(words []boot.Word, file string, line int) {
		for _, name := range boot.ListValues(words, FactModuleBlacklist, false) {
			if !strings.Contains(name, "-") {
				continue
			}
			text := "module_blacklist=" + escape.UTF8(name)
			l := fact.IdleLine{Text: text, File: file, Line: line, Reason: fact.Reason{Code: modprobe.IdleSpelling,
				Text: "the kernel compares letter by letter, and modules' names have underscores: " +
					escape.Text(strings.ReplaceAll(text, "-", "_"))}}
			if !slices.Contains(idle, l) && len(idle) < maxIdleWords {
				idle = append(idle, l)
			}
		}
	}
	setup := boot.Read(k.machine, r)
	for i := range setup.Entries {
		e := &setup.Entries[i]
		add(e.Words, e.File, e.Line)
	}
	if k.live() {
		text, err := limit.ReadFile(k.machine, modprobe.CmdlineFile, limit.Attr)
		if err != nil {
			r.Problem(SourceCmdline, "", "idle", err)
			return idle
		}
		add(boot.ParseCmdline(string(text)), modprobe.CmdlineFile, 1)
	}
	return idle
}

// maxIdleWords is how many words of command lines are listed.
const maxIdleWords = 1000
