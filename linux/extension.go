// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// An extensionDir holds images and folders that systemd-sysext(8) or systemd-confext(8) lays over a folder of the root
// during boot.
type extensionDir struct {
	dir, over string
	holds     []string // what of such a folder bears on modules
}

var (
	systemHolds   = []string{"lib/modules", "lib/modprobe.d", "local/lib/modprobe.d"}
	extensionDirs = []extensionDir{
		{"etc/extensions", "usr", systemHolds},
		{"var/lib/extensions", "usr", systemHolds},
		{"var/lib/confexts", "etc", []string{"modprobe.d"}},
		{"usr/lib/confexts", "etc", []string{"modprobe.d"}},
		{"usr/local/lib/confexts", "etc", []string{"modprobe.d"}},
	}
)

// maxExtensions is how many extensions of one directory are looked at.
const maxExtensions = 1024

// isNone reports whether an error says that there is nothing.
func isNone(err error) bool { return errors.Is(err, fs.ErrNotExist) || fact.Lacks(err) }

// readExtensions returns what the next boot may add to the root that is looked at: modules, and configuration. It does
// not apply if nothing does, and passes over what the running machine shows already.
func (c *checker) readExtensions() fact.Answer {
	for _, d := range extensionDirs {
		entries, err := fs.ReadDir(c.machine.FS, d.dir)
		switch {
		case isNone(err):
			continue
		case err == nil:
			entries, err = limit.Most(entries, maxExtensions, slash(d.dir))
		}
		if err != nil {
			return fact.UnsureOf(unread(ReasonExtension, slash(d.dir), err))
		}
		for _, e := range entries {
			if a := c.extension(&d, e.Name()); a.Applies() {
				return a
			}
		}
	}
	return fact.Answer{}
}

// extension says what one extension may add.
func (c *checker) extension(d *extensionDir, name string) fact.Answer {
	base, image := strings.CutSuffix(strings.TrimSuffix(name, ".v"), ".raw")
	file := path.Join(d.dir, name)
	shown := path.Join(d.over, "lib/extension-release.d/extension-release."+base)
	if d.over == "etc" {
		shown = "etc/extension-release.d/extension-release." + base
	}
	if _, err := fs.Stat(c.machine.FS, shown); err == nil && c.machine.Live {
		return fact.Answer{}
	}
	text := fmt.Sprintf("%s may be laid over /%s during boot", slash(file), d.over)
	r := textReason(ReasonExtension, text, slash(file), 0)
	r.Unread = "what is in " + slash(file)
	if image {
		return fact.UnsureOf(r)
	}
	for _, sub := range d.holds {
		_, err := fs.Stat(c.machine.FS, path.Join(file, d.over, sub))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			r.Unread = "what is in " + slash(path.Join(file, d.over, sub))
			return fact.UnsureOf(r)
		}
	}
	return fact.Answer{}
}

// bootBuilds is what akmods(8) and DKMS may build for the kernel when it boots.
type bootBuilds struct {
	any     fact.Answer // why any module may be built; does not apply without a reason
	service string      // what runs DKMS
	sources []dkmsSource
}

// A dkmsSource is a source that DKMS builds by itself, and of which it built nothing for the kernel yet.
type dkmsSource struct{ file, conf string }

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
		if dkmsMayBuild(s.conf, path.Base(path.Dir(path.Dir(path.Dir(s.file)))), name) {
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
	packages, err := c.dkmsEntries(dkmsDir)
	if err != nil {
		return fact.UnsureOf(unread(ReasonBuiltAtBoot, slash(dkmsDir), err))
	}
	for _, p := range packages {
		versions, _ := c.dkmsEntries(dkmsDir + "/" + p.Name()) // what is no folder is no package
		for _, v := range versions {
			dir := path.Join(dkmsDir, p.Name(), v.Name())
			if _, err := fs.Stat(c.machine.FS, dir+"/"+c.machine.Release); err == nil {
				continue // what it built is there
			}
			file := dir + "/source/dkms.conf"
			if conf, err := limit.ReadFile(c.machine.FS, file, maxDKMSConf); err == nil { // else it builds nothing
				b.sources = append(b.sources, dkmsSource{file, string(conf)})
			}
		}
	}
	return fact.Answer{}
}

// dkmsEntries lists a directory of DKMS's tree, which is empty if it is not there.
func (c *checker) dkmsEntries(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(c.machine.FS, dir)
	if isNone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return limit.Most(entries, maxExtensions, slash(dir))
}

// dkmsMayBuild reports whether the text of a dkms.conf asks for a build by itself, and of the module. It is a script
// for the shell: a name that is computed may be any.
func dkmsMayBuild(conf, pkg, module string) bool {
	auto, built, named := false, false, false
	for line := range strings.Lines(conf) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch {
		case key == "AUTOINSTALL":
			auto = value != "" && !strings.EqualFold(value, "no")
		case strings.HasPrefix(key, "BUILT_MODULE_NAME"), strings.HasPrefix(key, "DEST_MODULE_NAME"):
			named = true
			built = built || strings.ContainsAny(value, "$`") || modprobe.SameModule(value, module)
		}
	}
	return auto && (built || !named && modprobe.SameModule(pkg, module))
}
