// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// A config is the configuration that decides what is loaded at boot and what is never loaded.
type config struct {
	// Loader is what the boot loader reads; RC what rc(8) reads.
	Loader, RC conf
	// Files are the files that were read, with a leading "/".
	Files  []string
	unread fact.Report // the files that exist and could not be read
	syntax fact.Report // the lines that make no sense; only Check reports them
}

// loaderFiles are what the boot loader reads, in order; directories end in "/".
var loaderFiles = []string{
	"boot/defaults/loader.conf", "boot/device.hints", "boot/loader.conf", "boot/loader.conf.d/",
	"boot/loader.conf.local",
}

var rcFiles = []string{
	"etc/defaults/rc.conf", "etc/rc.conf", "etc/rc.conf.local", "etc/rc.conf.d/", "usr/local/etc/rc.conf.d/",
}

// An addFunc adds the text of a file to a conf.
type addFunc func(file, text string, r *fact.Report)

// readConfig reads the configuration of a machine. Files that do not exist cost nothing.
func readConfig(ctx context.Context, fsys fs.ReadDirFS) *config {
	c := &config{Loader: conf{source: SourceLoaderConf}, RC: conf{source: SourceRCConf}}
	for _, name := range loaderFiles {
		c.read(ctx, fsys, name, ".conf", c.Loader.readLoaderConf)
	}
	for _, name := range rcFiles {
		c.read(ctx, fsys, name, "", c.RC.readRCConf)
	}
	return c
}

func (c *config) read(ctx context.Context, fsys fs.ReadDirFS, name, suffix string, add addFunc) {
	if ctx.Err() != nil {
		c.lose(ctx.Err())
		return
	}
	dir, isDir := strings.CutSuffix(name, "/")
	if !isDir {
		c.readFile(fsys, name, add)
		return
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.lose(err)
		}
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries[:min(len(entries), 256)] {
		if !e.IsDir() && strings.HasSuffix(e.Name(), suffix) {
			c.readFile(fsys, dir+"/"+e.Name(), add)
		}
	}
}

// lose reports a file that could not be read, under the loader's source whichever of the two it belongs to.
func (c *config) lose(err error) { c.unread.Problem(SourceLoaderConf, "", "", err) }

func (c *config) readFile(fsys fs.FS, name string, add addFunc) {
	b, err := limit.ReadFile(fsys, name, 4<<20)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.lose(err)
		}
		return
	}
	c.Files = append(c.Files, "/"+name)
	add("/"+name, string(b), &c.syntax)
}

// modulePath returns the directories that a kernel booted with this configuration will search: its
// own, then those of the loader's module_path.
func (c *config) modulePath() []string {
	kernel := "kernel"
	if s, ok := c.Loader.Lookup("kernel"); ok && s.Value != "" {
		kernel = s.Value
	}
	dirs := []string{path.Join("/boot", kernel)}
	if strings.HasPrefix(kernel, "/") {
		dirs[0] = path.Clean(kernel)
	}
	more := splitModulePath("/boot/modules")
	if s, ok := c.Loader.Lookup("module_path"); ok {
		more = splitModulePath(s.Value)
	}
	for _, d := range more {
		if d = path.Clean("/" + d); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// loads returns the setting by which the boot loader loads the file of that base name (without
// ".ko"), and whether there is one that says YES.
func (c *config) loads(base string) (setting, bool) {
	for _, s := range c.Loader.Settings {
		name, ok := strings.CutSuffix(s.Name, "_load")
		if !ok || !strings.EqualFold(s.Value, "YES") {
			continue
		}
		file := name
		if n, ok := c.Loader.Lookup(name + "_name"); ok && n.Value != "" {
			file = n.Value
		}
		if t, ok := c.Loader.Lookup(name + "_type"); ok && t.Value != "" && !strings.HasPrefix(t.Value, "elf") {
			continue // data, such as a splash image
		}
		if baseName(file) == base {
			return s, true
		}
	}
	return setting{}, false
}

// listed looks a base name up in a list of names or paths, with or without ".ko".
func listed(c *conf, name, base string) (setting, bool) {
	words, s := c.Words(name)
	for _, w := range words {
		if baseName(w) == base {
			return s, true
		}
	}
	return setting{}, false
}

// blacklisted returns the loader's module_blacklist, if it names the file of that base name. Only
// the boot loader heeds it: kldload(8) does not.
func (c *config) blacklisted(base string) (setting, bool) {
	return listed(&c.Loader, "module_blacklist", base)
}

// rcListed returns rc.conf's kld_list, if it names the file of that base name.
func (c *config) rcListed(base string) (setting, bool) { return listed(&c.RC, "kld_list", base) }

// devmatchBlocked returns rc.conf's devmatch_blocklist, if it names the file of that base name.
func (c *config) devmatchBlocked(base string) (setting, bool) {
	for _, name := range []string{"devmatch_blocklist", "devmatch_blacklist"} {
		if s, ok := c.RC.Lookup(name); ok && (s.Value != "" || s.Code != "") {
			return listed(&c.RC, name, base)
		}
	}
	return setting{}, false
}

// devmatchEnabled returns rc.conf's devmatch_enable; devmatch runs when that is yes, and known is
// false when no file sets it.
func (c *config) devmatchEnabled() (s setting, yes, known bool) {
	s, known = c.RC.Lookup("devmatch_enable")
	return s, known && saysYes(s.Value), known && s.Code == ""
}

// secureLevel returns the securelevel that rc(8) raises the kernel to at the end of a boot, and
// whether it does.
func (c *config) secureLevel() (level setting, raised bool) {
	enable, ok := c.RC.Lookup("kern_securelevel_enable")
	if !ok || !saysYes(enable.Value) {
		return enable, false
	}
	level, ok = c.RC.Lookup("kern_securelevel")
	return level, ok && level.Value != "" && !strings.HasPrefix(level.Value, "-") && level.Value != "0"
}
