// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// cisDir returns the directory of a release in which the scripts of the CIS benchmarks look for a module: the
// benchmark's type, and its name of the module with - as /. It is "" for a module that no CIS benchmark names: the
// scripts are then taken to find it.
func cisDir(name string) string {
	switch name {
	case "overlay":
		return "kernel/fs/overlayfs" // the benchmark's name of it
	case "cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "squashfs", "udf":
		return "kernel/fs/" + name
	case "usb-storage", "firewire-core":
		return "kernel/drivers/" + strings.ReplaceAll(name, "-", "/")
	case "atm", "can", "dccp", "rds", "sctp", "tipc":
		return "kernel/net/" + name
	}
	return ""
}

// script is the answer of a script of the CIS benchmarks. It passes if no installed kernel has the module's directory.
func (m *machine) script(ctx context.Context, check Check, name string) (Status, string) {
	dir := cisDir(name)
	here := true // the kernel that is audited has it
	if dir != "" {
		releases, err := haveDir(m.Files, dir)
		switch {
		case err != nil:
			return Unknown, oneLine(err)
		case len(releases) == 0:
			return Pass, "no installed kernel has anything in " + dir
		case check == CheckCIS && m.release == "": // it looks further only if the running kernel has the directory
			return Unknown, "the kernel's release is not known"
		}
		here = slices.Contains(releases, m.release)
	}
	var parts []part
	if check == CheckCIS {
		parts = append(parts, m.conf.shows("blacklist", name, ``))
		if here {
			parts = append(parts, m.installs(ctx, name))
		}
	} else {
		parts = append(parts, m.conf.shows("install", name, installWords(check)), m.conf.shows("blacklist", name, ``))
		here = true
	}
	if here && !m.Image { // an image runs no kernel
		parts = append(parts, m.lsmod(ctx, name))
	}
	return sum(parts...)
}

// haveDir returns the releases whose directory of modules has something in dir.
func haveDir(fsys fs.FS, dir string) (releases []string, err error) {
	const modules = "lib/modules"
	if fsys == nil {
		return nil, errNoRoot
	}
	entries, err := fs.ReadDir(fsys, modules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s: over %d entries: %w", modules, maxFiles, fact.ErrTooLarge)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // a shell's * leaves it out
		}
		if !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		content, err := fs.ReadDir(fsys, path.Join(modules, e.Name(), dir))
		switch {
		case err == nil && len(content) > 0:
			releases = append(releases, e.Name())
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return releases, nil
}

// installWords is the pattern of the commands that a script takes for an install line that loads nothing.
func installWords(check Check) string {
	if check == CheckShowConfigBin {
		return `\h+/bin/(true|false)`
	}
	return `\h+(/usr)?/bin/(true|false)`
}

// shows reports whether a line of modprobe --showconfig has a directive for the module, followed by what matches. The
// scripts take the name with _ for -, and look for it anywhere in a line.
func (c *config) shows(directive, name, followed string) part {
	p := part{missed: "no " + directive + " line", err: c.err}
	if directive == "install" {
		p.missed += " to /bin/true or /bin/false"
	}
	if c.err != nil {
		return p
	}
	pattern := `\b` + directive + `\h+` + regexp.QuoteMeta(strings.ReplaceAll(name, "-", "_")) + followed + `\b`
	re, err := regexp.Compile(strings.ReplaceAll(pattern, `\h`, `[ \t]`))
	if err != nil {
		return part{err: err}
	}
	p.ok = slices.ContainsFunc(c.lines.Settings, func(s lkm.Setting) bool {
		return re.MatchString(s.Directive + " " + s.Name + " " + s.Value)
	})
	p.err = c.lines.Err()
	return p
}

// installs reports whether modprobe -n -v prints that it would run /bin/true or /bin/false instead of loading. Of a
// module that is loaded or compiled in it prints nothing.
func (m *machine) installs(ctx context.Context, name string) part {
	p := part{missed: "modprobe -n -v prints no install line to /bin/true or /bin/false"}
	steps, err := m.System.LoadPlan(ctx, name)
	for _, s := range steps {
		if strings.HasPrefix(s.Command, "/bin/true") || strings.HasPrefix(s.Command, "/bin/false") {
			p.ok = true
		}
		if s.Builtin {
			p.missed = "modprobe -n -v prints nothing of what is compiled in"
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fact.ErrBlacklisted) {
		p.err = err
	}
	return p
}

// lsmod reports whether lsmod | grep NAME finds nothing. It looks for the letters, wherever they are in a line:
// usb-storage is never found, because lsmod prints usb_storage.
func (m *machine) lsmod(ctx context.Context, name string) part {
	snap, err := m.snapshot(ctx, lkm.ScopeLoaded)
	if snap == nil {
		return part{err: err}
	}
	shows := slices.ContainsFunc(snap.Modules, func(mod lkm.Module) bool {
		return strings.Contains(mod.Name, name) ||
			slices.ContainsFunc(mod.UsedBy, func(user string) bool { return strings.Contains(user, name) })
	})
	if shows {
		return part{missed: fmt.Sprintf("lsmod shows %q", name)}
	}
	return part{ok: err == nil, err: err}
}
