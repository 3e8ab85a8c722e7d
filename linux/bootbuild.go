// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// bootBuilds is what akmods(8) and DKMS may build for the kernel when it boots.
type bootBuilds struct {
	any     fact.Answer   // why any module may be built; does not apply without a reason
	service string        // what runs DKMS
	sources []*dkmsSource // of which nothing was built for the kernel yet
}

// readBuilds reads what may be built.
func (c *checker) readBuilds() (b bootBuilds) {
	if b.any = c.akmodsBuild(); !b.any.Applies() {
		b.any = c.readDKMS(&b)
	}
	return b
}

// builtAtBoot says whether a module of the name may be built when this kernel boots. It does not apply if none is.
func (c *checker) builtAtBoot(name string) fact.Answer {
	if c.builds.any.Applies() {
		return c.builds.any
	}
	for _, s := range c.builds.sources {
		if s.builds(name) {
			r := textReason(ReasonBuiltAtBoot, slash(c.builds.service)+" may build it when this kernel boots: "+
				slash(s.file), slash(s.file), 0)
			r.Unread = "what DKMS builds"
			return fact.UnsureOf(r)
		}
	}
	return fact.Answer{}
}

// akmodsBuild says whether akmods has a source of which nothing is installed for this kernel. Which modules come of it
// shows only the build: VirtualBox's is called vboxdrv.
func (c *checker) akmodsBuild() fact.Answer {
	const dir = "usr/src/akmods"
	entries, err := fs.ReadDir(c.machine.FS, dir)
	if err == nil {
		entries, err = limit.Most(entries, maxExtensions, slash(dir))
	}
	switch {
	case isNone(err):
		return fact.Answer{}
	case err != nil:
		return fact.UnsureOf(unread(ReasonBuiltAtBoot, slash(dir), err))
	}
	for _, e := range entries {
		base, _, ok := strings.Cut(e.Name(), "-kmod")
		if _, err := fs.Stat(c.machine.FS, c.tree.Path("extra/"+base)); !ok || err == nil {
			continue
		}
		r := textReason(ReasonBuiltAtBoot, "akmods has a source in /"+dir+"/"+e.Name()+
			", and may build modules of it when this kernel boots", "/"+dir+"/"+e.Name(), 0)
		r.Unread = "which modules akmods builds"
		return fact.UnsureOf(r)
	}
	return fact.Answer{}
}

// dkmsServices run "dkms autoinstall" during boot.
var dkmsServices = []string{"usr/lib/systemd/system/dkms.service", "lib/systemd/system/dkms.service",
	"etc/systemd/system/dkms.service", "etc/init.d/dkms", "etc/init.d/dkms_autoinstaller"}

// readDKMS finds the sources of DKMS. It returns why any module may be built.
func (c *checker) readDKMS(b *bootBuilds) fact.Answer {
	for _, file := range dkmsServices {
		if _, err := fs.Stat(c.machine.FS, file); b.service == "" && err == nil {
			b.service = file
		}
	}
	if _, err := fs.Stat(c.machine.FS, c.tree.Path("build")); b.service == "" || isNone(err) {
		return fact.Answer{} // it does not run, or has no headers
	}
	var unreadErr error
	tree := dkmsTree{fsys: c.machine.FS, left: maxDKMS, lose: func(err error) {
		if !isNone(err) {
			unreadErr = cmp.Or(unreadErr, err)
		}
	}}
	tree.each(func(name, version string) {
		if _, err := fs.Stat(c.machine.FS, path.Join(dkmsDir, name, version, c.machine.Release)); err == nil {
			return // what it built is there
		}
		file, conf, err := tree.conf(name, version)
		if err != nil {
			tree.lose(err) // without a dkms.conf, DKMS builds nothing
		} else if s := dkmsSourceOf(file, name, conf); s != nil {
			b.sources = append(b.sources, s)
		}
	})
	if unreadErr != nil {
		return fact.UnsureOf(unread(ReasonBuiltAtBoot, slash(dkmsDir), unreadErr))
	}
	return fact.Answer{}
}
