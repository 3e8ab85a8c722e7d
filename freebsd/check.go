// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// The ways for a kld to get into the kernel.
const (
	WayLoader     = "loader"     // the boot loader loads it, as loader.conf says
	WayKldList    = "kld_list"   // rc(8) loads it at boot, as rc.conf says
	WayService    = "service"    // rc(8) loads it at boot for a service, a file system or an interface
	WayDevmatch   = "devmatch"   // devmatch(8) loads it for a device that has no driver
	WayDependency = "dependency" // the kernel loads it because another kld needs it
	WayKldload    = "kldload"    // root loads it by name
)

// Codes of reasons.
const (
	ReasonLoaded     = "loaded"             // it is a loaded file
	ReasonPreloaded  = "preloaded"          // the boot loader loaded it
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
	ReasonSymbols    = "undefined_symbol"   // the kernel would refuse it: nothing defines a symbol that it needs
	ReasonService    = "service"            // a service, a file system or an interface needs it
	ReasonCompressed = "compressed"         // only the boot loader unpacks its file
	ReasonMachine    = "machine"            // it is for another processor
	ReasonTwoNames   = "two_names"          // the name fits another file, too
	ReasonNoKernel   = "no_kernel"          // the root has no kernel: it does not boot
)

// Check answers whether what the query means is, or can get, in the kernel, for each file that it means, and once if it
// means none. A query is a file's name with or without ".ko", a path, a module's name or the last part of it, an
// interface's name, or a device: "pci:vendor=0x8086 device=0x10d3", or the text of a NOMATCH event of devctl(4).
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	if k.options.Kernel == fact.KernelAll {
		return k.checkAll(ctx, query, r)
	}
	c, err := k.checker(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, p := range c.unread.Problems {
		r.Add(p)
	}
	name := bareName(query)
	if strings.HasPrefix(name, "/") {
		if err := c.open(k.machine, name, k.options.FileCap()); err != nil {
			return nil, err
		}
	}
	results := c.check(name)
	out := make([]fact.Verdict, len(results))
	for i, f := range results {
		out[i] = f.Verdict
		out[i].Query = query
		if f.name != "" {
			out[i].Module = k.id(f.name)
		}
		if f.copy != "" {
			out[i].Module += "#" + slashPath(f.copy)
		}
	}
	return out, nil
}

// checkAll is Check for every kernel on disk.
func (k *Kernel) checkAll(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	names := kernels(k.machine)
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "open", Path: "/boot/" + kernelName + "/" + kernelName, Err: fs.ErrNotExist}
	}
	var out []fact.Verdict
	for _, name := range names {
		o := k.options
		o.Kernel = name
		one := Kernel{machine: k.machine, options: o, kind: k.kind, layout: k.layout}
		list, err := one.Check(ctx, query, r)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// open reads the file of that path, if it lies where no setting names it. The error matches fs.ErrNotExist for a path
// that is not on disk and was not loaded.
func (c *checker) open(fsys fs.FS, name string, max int64) error {
	if c.library.find(name) != nil || c.loadedNamed(name) != nil {
		return nil
	}
	file := existing(fsys, name)
	if file == "" {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if _, err := fs.Stat(fsys, slashPath(file)); err != nil { // it is not known whether there is one
		if _, own := fs.Stat(fsys, slashPath(path.Clean(name))); own != nil && !errors.Is(own, fs.ErrNotExist) {
			return own
		}
		return err
	}
	f := readDiskFile(fsys, file, max, c.library.report.Budget)
	f.aside = true
	lib := *c.library // the others of the System do not see it
	lib.Files = append(slices.Clone(lib.Files), f)
	lib.index()
	c.library, c.needed, c.anything = &lib, nil, nil
	c.place()
	return nil
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
	// kernel is the name of the kernel's directory, if the caller chose it; else empty.
	kernel string
	// bootless is set for a root without a kernel: a jail's, or an image for one.
	bootless bool

	asked    map[*diskFile][]request // what the boot asks for, by file
	anything []request               // what may ask for any file
	needed   map[*diskFile][]*diskFile
	linker   *linker
	// sameKernel reports whether the running kernel is known to be that of the kernel's file.
	sameKernel func() bool

	unread fact.Report // of what bears on the outcome
}

// checker reads what verdicts follow from.
func (k *Kernel) checker(ctx context.Context, r *fact.Report) (*checker, error) {
	lib, err := k.files(ctx)
	if err != nil {
		return nil, err
	}
	c := &checker{
		live: !k.options.Image && k.options.Kernel == "", library: lib, config: k.conf(ctx), kernel: k.options.Kernel,
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.linker = &linker{fsys: k.machine, max: k.options.FileCap(), report: r, global: k.layout == layoutDragonFly}
	c.sameKernel = func() bool {
		id, err := k.kernelBuildID(ctx)
		return err == nil && lib.Kernel.metadata != nil && id != "" && id == lib.Kernel.BuildID
	}
	if c.live {
		c.readLoaded(ctx, k, r)
	}
	lib.lost(&c.unread)
	for _, p := range slices.Concat(c.config.unread.Problems, c.config.older.Problems) {
		c.unread.Add(p)
	}
	for _, p := range c.config.syntax.Problems {
		r.Add(p)
	}
	if !c.live {
		c.osRelDate = kernelRelease(lib.Kernel)
		c.bootless = k.bootless(ctx)
		c.place()
		return c, ctx.Err()
	}
	c.readRunning(ctx, k, r)
	c.place()
	return c, ctx.Err()
}

// readLoaded reads what the running kernel has.
func (c *checker) readLoaded(ctx context.Context, k *Kernel, r *fact.Report) {
	var err error
	if c.loaded, err = k.walk(ctx); err != nil {
		c.unread.Problem(SourceKldstat, "", "", err)
	}
	for i := range c.loaded {
		if f := &c.loaded[i]; f.Modules == nil || len(f.report.Problems) > 0 {
			c.unread.Problem(SourceModstat, f.Name, "modules", f.insideErr())
		}
	}
	c.preloads, _ = k.preloads(ctx, r) // the error is reported; it bears on one word
}

// readRunning reads what the running kernel is, and whether it still takes klds.
func (c *checker) readRunning(ctx context.Context, k *Kernel, r *fact.Report) {
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
}
