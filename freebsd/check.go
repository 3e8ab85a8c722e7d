// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// The ways for a kld to get into the kernel.
const (
	WayLoader     = "loader"     // the boot loader loads it, as loader.conf says
	WayKldList    = "kld_list"   // rc(8) loads it at boot, as rc.conf says
	WayDevmatch   = "devmatch"   // devmatch(8) loads it for a device that has no driver
	WayDependency = "dependency" // the kernel loads it because another kld needs it
	WayKldload    = "kldload"    // root loads it by name
)

// Codes of reasons.
const (
	ReasonLoaded     = "loaded"             // it is a loaded file
	ReasonPreloaded  = "preloaded"          // the boot loader had loaded it
	ReasonInKernel   = "in_kernel"          // it is compiled into the kernel
	ReasonInstalled  = "installed"          // its file is on disk
	ReasonNoFile     = "no_file"            // no file and no module has that name
	ReasonUnread     = "unread"             // a source that could change the answer was not read
	ReasonLevel      = "securelevel"        // kern.securelevel refuses it
	ReasonVeriexec   = "veriexec"           // veriexec decides
	ReasonBlacklist  = "module_blacklist"   // loader.conf's module_blacklist names it
	ReasonLoaderConf = "loader_conf"        // loader.conf loads it
	ReasonKldList    = "kld_list"           // rc.conf's kld_list names it
	ReasonDevmatch   = "devmatch"           // it declares devices that devmatch loads it for
	ReasonDevBlock   = "devmatch_blocklist" // rc.conf keeps devmatch from loading it
	ReasonDependency = "dependency"         // another file needs it
	ReasonUnmet      = "unmet_dependency"   // the kernel would refuse it: nothing provides what it needs
)

// Check answers whether what the query means is, or can get, in the kernel, for each file that it means, and once if it
// means none. A query is a file's name with or without ".ko", a path, a module's name or the last part of it, an
// interface's name, or a device: "pci:vendor=0x8086 device=0x10d3", or the text of a NOMATCH event of devctl(4).
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	c, err := k.checker(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, p := range c.unread.Problems {
		r.Add(p)
	}
	results := c.check(bareName(query))
	out := make([]fact.Verdict, len(results))
	for i, f := range results {
		out[i] = f.Verdict
		out[i].Query = query
		if f.name != "" {
			out[i].Module = k.id(f.name)
		}
	}
	return out, nil
}

// A checker is what verdicts follow from.
type checker struct {
	live     bool         // a kernel runs; false for an image
	loaded   []loadedFile // the kernel among them
	preloads []preload
	library  *library
	config   *config
	lock     fact.Answer // whether the running kernel refuses every kld
	// release is the kernel's release as uname gives it; empty if it is unknown.
	release string
	// osRelDate is the release number of the kernel; 0 if it is unknown.
	osRelDate int64

	unread fact.Report // of what bears on the outcome
}

// checker reads what verdicts follow from.
func (k *Kernel) checker(ctx context.Context, r *fact.Report) (*checker, error) {
	lib, err := k.files(ctx)
	if err != nil {
		return nil, err
	}
	c := &checker{live: !k.options.Image, library: lib, config: k.conf(ctx)}
	if c.live {
		c.loaded, err = k.walk(ctx)
		if err != nil {
			c.unread.Problem(SourceKldstat, "", "", err)
		}
		for i := range c.loaded {
			if f := &c.loaded[i]; f.Modules == nil || len(f.report.Problems) > 0 {
				c.unread.Problem(SourceModstat, f.Name, "modules", f.insideErr())
			}
		}
		c.preloads, _ = k.preloads(ctx, r) // the error is reported; it bears on one word
	}
	lib.tell(&c.unread)
	for _, p := range c.config.unread.Problems {
		c.unread.Add(p)
	}
	for _, p := range c.config.syntax.Problems {
		r.Add(p)
	}
	if !c.live {
		c.osRelDate = kernelRelease(lib.Kernel)
		return c, ctx.Err()
	}
	l := readLock(ctx, k.call())
	l.report(&c.unread)
	c.lock = l.answer()
	uname, err := k.machine.Call(ctx, OpUname)
	if err != nil {
		r.Problem(SourceMachine, "", "release", err)
	}
	c.release = machine.Keys(uname)["release"]
	c.osRelDate, err = k.call().integer(ctx, sysctlOSRelDate)
	if err != nil {
		r.Problem(SourceMachine, "", "release", err)
	}
	return c, ctx.Err()
}
