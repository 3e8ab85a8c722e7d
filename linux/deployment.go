// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A deploymentDisk shows the root of an ostree's deployment as a boot makes it (ostree-prepare-root(1)): the folder of
// the deployment, with /boot and /sysroot of the disk, and the /var that all deployments of one system share. Paths
// are not resolved; hostfs.Of does that.
type deploymentDisk struct {
	disk fs.ReadLinkFS
	dir  string // the deployment, below the disk's root
	top  string // the disk's own root, below the machine's: "sysroot" in a running deployment
}

// newDeployment returns the root of the deployment in a folder of a machine's disk.
func newDeployment(disk fs.ReadLinkFS, dir string) fs.FS {
	d := deploymentDisk{disk: disk, dir: dir, top: "."}
	if info, err := fs.Stat(disk, "sysroot/ostree"); err == nil && info.IsDir() {
		d.top = "sysroot"
	}
	return deploymentRoot{hostfs.Of(d), d}
}

// A deploymentRoot is that root with its links resolved.
type deploymentRoot struct {
	hostfs.FS
	raw deploymentDisk
}

// Redacted reports whether a recording altered the answer for a file.
func (d deploymentRoot) Redacted(key string) bool {
	r, ok := d.raw.disk.(fact.Redactor)
	return ok && r.Redacted(d.raw.at(key))
}

// at is where a path is on the disk.
func (d deploymentDisk) at(name string) string {
	first, rest, _ := strings.Cut(name, "/")
	switch first {
	case "boot":
		return name
	case "sys": // the firmware's variables of the machine that runs
		if d.top != "." {
			return name
		}
	case "ostree": // a link to sysroot/ostree
		return path.Join(d.top, name)
	case "sysroot":
		return path.Join(d.top, rest)
	case "var":
		return path.Join(path.Dir(path.Dir(d.dir)), name) // ostree/deploy/OS/var
	}
	return path.Join(d.dir, name)
}

func (d deploymentDisk) Open(name string) (fs.File, error)      { return d.disk.Open(d.at(name)) }
func (d deploymentDisk) Lstat(name string) (fs.FileInfo, error) { return d.disk.Lstat(d.at(name)) }
func (d deploymentDisk) ReadLink(name string) (string, error)   { return d.disk.ReadLink(d.at(name)) }
func (d deploymentDisk) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(d.disk, d.at(name))
}

// place changes the file of a reason from one below the deployment's root to one below the disk's.
func (d deploymentDisk) place(r *fact.Reason) {
	if name, ok := strings.CutPrefix(r.File, "/"); ok {
		r.File = "/" + d.at(name)
	}
}

// place makes the files of a verdict's reasons those of the disk that the deployment is on.
func (m *checkedKernel) place(v *fact.Verdict) {
	if m.Deployment == "" {
		return
	}
	d := deploymentDisk{dir: m.Deployment, top: "."}
	for _, list := range [][]fact.Reason{v.Reasons, v.Triggers, v.Bypasses} {
		d.placeAll(list)
	}
	d.placeProspect(v.Now)
	d.placeProspect(v.NextBoot)
}

// placeAll does so for all reasons of a list.
func (d deploymentDisk) placeAll(reasons []fact.Reason) {
	for i := range reasons {
		d.place(&reasons[i])
	}
}

// placeProspect does so for those of a prospect.
func (d deploymentDisk) placeProspect(p *fact.Prospect) {
	if p == nil {
		return
	}
	d.place(&p.Because)
	for i := range p.Ways {
		d.place(&p.Ways[i].Because)
	}
}

// deployments are the kernels in question on a disk whose own root holds no modules: those of the deployments that boot
// entries start. Another disk has none.
func (k *Kernel) deployments(r *fact.Report) (machines []checkedKernel) {
	seen := make(map[string]bool)
	setup := boot.Read(k.machine, r.Part()) // each deployment's own reading reports what is lost
	for _, e := range setup.Entries {
		dir, _ := e.Root() // an error is each deployment's own
		if dir == "" || seen[dir] || len(machines) == maxBootStates {
			continue
		}
		seen[dir] = true
		machines = append(machines, k.deployment(dir, e.Release, r)...)
	}
	return machines
}

// deployment returns the kernels of one deployment, of those that are asked for. release is that of a boot entry, for
// one whose modules could not be listed.
func (k *Kernel) deployment(folder, release string, r *fact.Report) (machines []checkedKernel) {
	root := newDeployment(k.machine, folder)
	m := checkedKernel{FS: root, Deployment: folder, Keys: k.keyFinder(), Initramfs: &k.initramfs}
	dirs, err := modprobe.Releases(root, r)
	for _, dir := range dirs {
		if want := k.options.Kernel; want == "" || want == fact.KernelAll || want == dir.Release {
			m.Release, m.Dir = dir.Release, dir
			machines = append(machines, m)
		}
	}
	if err != nil {
		m.Release, m.DirErr = release, err
		machines = append(machines, m)
	}
	return machines
}

// elsewhere returns the checker of the deployment that an entry starts in place of the root that is looked at; nil if
// it starts that one. doubt is set if it is not known what the entry starts.
func (c *checker) elsewhere(e boot.Entry) (other *checker, doubt fact.Answer) {
	folder, err := e.Root()
	if folder == c.machine.Deployment && err == nil || c.startsHere(e) {
		return nil, c.otherRoot(e)
	}
	disk, ok := c.machine.FS.(fs.ReadLinkFS)
	if err == nil && !ok {
		err = errors.ErrUnsupported
	}
	if err != nil {
		c.report.Add(fact.ProblemOf(SourceCmdline, "", "", err))
		return nil, fact.UnsureOf(unread(ReasonBootEntry, "the root that "+slash(e.File)+" starts", err))
	}
	if known := c.roots[folder]; known != nil {
		return known, fact.Answer{}
	}
	root := newDeployment(disk, folder)
	dir, err := modprobe.FindRelease(root, c.machine.Release)
	lost := c.report.Part()
	other = newChecker(checkedKernel{FS: root, Release: c.machine.Release, Dir: dir, DirErr: err,
		Deployment: folder, Live: c.machine.Live, Keys: c.machine.Keys, Initramfs: c.machine.Initramfs}, lost)
	for _, p := range other.report.Problems {
		c.problem(p.Source, "/"+folder, p)
	}
	c.other.Append(lost)
	c.roots[folder] = other
	return other, fact.Answer{}
}

// startsHere reports whether an entry starts the deployment that runs.
func (c *checker) startsHere(e boot.Entry) bool {
	if !c.machine.Live {
		return false
	}
	text, err := limit.AppendFile(c.machine.FS, nil, modprobe.CmdlineFile, limit.Attr)
	if err != nil {
		return false
	}
	words := boot.ParseCmdline(string(text))
	if boot.SameRoot(words, e.Words) {
		return true
	}
	dir, err := boot.Deployment(c.machine.FS, words)
	folder, otherErr := e.Root()
	return err == nil && otherErr == nil && dir != "" && dir == folder
}

// ofDeployment keeps the entries of a setup that start a deployment.
func ofDeployment(setup *boot.Setup, dir string) {
	var kept []boot.Entry
	for _, e := range setup.Entries {
		if folder, err := e.Root(); folder == dir || err != nil {
			kept = append(kept, e)
		}
	}
	setup.Entries = kept
}

// resultElsewhere answers for a module of another deployment's root.
func (c *checker) resultElsewhere(s *bootState, t target) result {
	found := c.byName(t.name)
	if found == nil {
		found = c.unindexedFile(t.name)
	}
	if found == nil {
		found = &target{name: t.name, initial: true}
	}
	found.alias = t.alias
	own := *s
	own.elsewhere = nil
	r := c.resultAt(&own, *found)
	d := deploymentDisk{dir: c.machine.Deployment, top: "sysroot"}
	d.placeAll(r.reasons)
	d.place(&r.because)
	d.placeProspect(&r.prospect)
	return r
}

// stagedFile is there while a deployment waits for the shutdown, which writes its boot entry (ostree-finalize-staged).
const stagedFile = "run/ostree/staged-deployment"

// readStaged looks whether a deployment is staged: the next boot starts that one, and no boot entry names it yet.
func (c *checker) readStaged() {
	_, err := fs.Stat(c.machine.FS, stagedFile)
	switch {
	case errors.Is(err, fs.ErrNotExist), fact.Lacks(err):
	case err != nil:
		c.kexec = fact.UnsureOf(unread(ReasonStaged, slash(stagedFile), err))
	default:
		c.kexec = fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: slash(stagedFile),
			Text:   "a deployment is staged: the shutdown makes it the one that starts next",
			Unread: "the staged deployment, whose boot entry is not written yet"})
	}
}
