// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// diskMachine is a machine whose links lead within it.
type diskMachine struct {
	hostfs.FS
	madeMachine
}

func (m diskMachine) Open(name string) (fs.File, error)          { return m.FS.Open(name) }
func (m diskMachine) Stat(name string) (fs.FileInfo, error)      { return m.FS.Stat(name) }
func (m diskMachine) ReadDir(name string) ([]fs.DirEntry, error) { return m.FS.ReadDir(name) }
func (m diskMachine) ReadLink(name string) (string, error)       { return m.FS.ReadLink(name) }
func (m diskMachine) Lstat(name string) (fs.FileInfo, error)     { return m.FS.Lstat(name) }

func diskOf(files fstest.MapFS) diskMachine {
	return diskMachine{hostfs.Of(files), machineOf(files)}
}

// A deployed is one deployment of the disk of a test.
type deployed struct {
	sum, release, conf, words string
}

// ostreeDisk is the disk of an ostree with deployments, the first of which starts first.
func ostreeDisk(list ...deployed) fstest.MapFS {
	files := make(fstest.MapFS)
	files["boot/loader"] = linuxtest.Link("loader.1")
	files["ostree/boot.1"] = linuxtest.Link("boot.1.1")
	for i, d := range list {
		n := string(rune('0' + i))
		dir := "ostree/deploy/os/deploy/" + d.sum + ".0/"
		tree := dir + "usr/lib/modules/" + d.release + "/"
		maps.Copy(files, linuxtest.Files(map[string]string{
			tree + "modules.dep": "kernel/lone.ko:\n", tree + "modules.builtin": "", tree + "kernel/lone.ko": "",
			tree + "modules.alias": "alias pci:v1* lone\n", tree + "vmlinuz": "", tree + "config": "CONFIG_MODULES=y\n",
			dir + "etc/modprobe.d/a.conf": d.conf,
			"boot/loader.1/entries/ostree-" + string(rune('9'-i)) + ".conf": "title OS " + n + "\nversion " + n + "\n" +
				"linux /ostree/os-" + n + "/vmlinuz-" + d.release + "\n" +
				"options ostree=/ostree/boot.1/os/" + n + "/0 " + d.words + "\n",
		}))
		files[dir+"lib"] = linuxtest.Link("usr/lib")
		files[dir+"ostree"] = linuxtest.Link("sysroot/ostree")
		files["ostree/boot.1.1/os/"+n+"/0"] = linuxtest.Link("../../../deploy/os/deploy/" + d.sum + ".0")
	}
	return files
}

const stops = "install lone /bin/false\n"

// TestDeployments: each deployment that a boot entry starts is judged with its own root and its entry's words.
func TestDeployments(t *testing.T) {
	for _, tt := range []struct {
		name string
		list []deployed
		more map[string]string
		want string // the releases and the outcomes
	}{
		{"its own configuration", []deployed{{"a", "6.1.0", stops, ""}}, nil, "6.1.0 blocked"},
		{"its entry's words", []deployed{{"a", "6.1.0", "", "module_blacklist=lone"}}, nil, "6.1.0 blocked"},
		{"the configuration of the disk's own root", []deployed{{"a", "6.1.0", "", ""}},
			map[string]string{"etc/modprobe.d/a.conf": stops}, "6.1.0 loadable"},
		{"two", []deployed{{"a", "6.2.0", stops, ""}, {"b", "6.1.0", "", ""}}, nil, "6.2.0 blocked, 6.1.0 loadable"},
		{"two of one kernel", []deployed{{"a", "6.1.0", stops, ""}, {"b", "6.1.0", "", ""}}, nil,
			"6.1.0 blocked, 6.1.0 loadable"},
		{"an entry whose link leads nowhere", []deployed{{"a", "6.1.0", stops, ""}},
			map[string]string{"boot/loader.1/entries/z.conf": "version 6.1.0\noptions ostree=/ostree/boot.1/os/9/0\n"},
			"6.1.0 unknown"},
		{"an initial file system", []deployed{{"a", "6.1.0", stops, "initrd=/ostree/os-0/initramfs.img"}},
			map[string]string{"boot/ostree/os-0/initramfs.img": string(linuxtest.Archive(
				"usr/lib/modules/6.1.0/modules.dep", "kernel/lone.ko:\n", "usr/lib/modules/6.1.0/kernel/lone.ko", "",
				"usr/lib/modules/6.1.0/modules.alias", "", "usr/lib/modules/6.1.0/modules.builtin", ""))},
			"6.1.0 loadable"},
	} {
		files := ostreeDisk(tt.list...)
		maps.Copy(files, linuxtest.Files(tt.more))
		var r fact.Report
		verdicts, err := Open(diskOf(files), fact.Options{Image: true}).Check(t.Context(), "lone", &r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got []string
		for _, v := range verdicts {
			got = append(got, v.Release+" "+string(v.NextBoot.Outcome))
			for _, reason := range v.Reasons {
				if f := reason.File; f != "" && !strings.HasPrefix(f, "/boot/") &&
					!strings.HasPrefix(f, "/ostree/deploy/os/deploy/") {
					t.Errorf("%s: a file that is not the disk's: %+v", tt.name, reason)
				}
			}
			unknownReasons(t, v)
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, text, tt.want, verdicts)
		}
	}
}

// TestDeploymentsOfARunningMachine: an entry that starts another deployment is judged with that one's root.
func TestDeploymentsOfARunningMachine(t *testing.T) {
	const runs = "ostree=/ostree/boot.1/os/0/0"
	for _, tt := range []struct {
		name  string
		other deployed
		root  string // what the running root's configuration says
		more  map[string]string
		want  fact.VerdictOutcome
	}{
		{"both block it", deployed{"b", "6.1.0", stops, ""}, stops, nil, fact.VerdictBlocked},
		{"the other does not", deployed{"b", "6.1.0", "", ""}, stops, nil, fact.VerdictLoadable},
		{"only the other does", deployed{"b", "6.1.0", stops, ""}, "", nil, fact.VerdictLoadable},
		{"the other is of another kernel", deployed{"b", "6.2.0", "", ""}, stops, nil, fact.VerdictBlocked},
		{"a deployment is staged", deployed{"b", "6.1.0", stops, ""}, stops, map[string]string{stagedFile: "x"},
			fact.VerdictUnknown},
	} {
		disk := ostreeDisk(deployed{"a", "6.1.0", tt.root, ""}, tt.other)
		files := make(fstest.MapFS) // the running machine: the first deployment is the root, and /sysroot the disk
		for name, f := range disk {
			files["sysroot/"+name] = f
			if rest, ok := strings.CutPrefix(name, "ostree/deploy/os/deploy/a.0/"); ok {
				files[rest] = f
			}
			if strings.HasPrefix(name, "boot/") {
				files[name] = f
			}
		}
		maps.Copy(files, linuxtest.Files(map[string]string{ModulesFile: "", "proc/cmdline": "quiet " + runs + "\n"}))
		maps.Copy(files, linuxtest.Files(tt.more))
		m := diskOf(files)
		m.calls[OpUname] = "release 6.1.0\nmachine x86_64\n"
		verdicts, err := Open(m, fact.Options{}).Check(t.Context(), "lone", new(fact.Report))
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %v, %v", tt.name, verdicts, err)
		}
		v := verdicts[0]
		if v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v)
		}
		if tt.name == "the other does not" && v.NextBoot.Entries[0].Outcome != fact.VerdictBlocked {
			t.Errorf("%+v", v.NextBoot.Entries)
		}
	}
}

// TestComposefs: bootc's own store is not read, and what it may hold is unknown, but for the image that runs.
func TestComposefs(t *testing.T) {
	files := imageOf(map[string]string{"etc/modprobe.d/a.conf": stops,
		"boot/loader/entries/a.conf": "version 6\noptions composefs=12ab\n"})
	if v := checkOf(t, files, "lone"); v.NextBoot.Outcome != fact.VerdictUnknown ||
		!strings.Contains(v.NextBoot.Because.Text, "composefs") {
		t.Errorf("%s: %+v", outcomes(v), v.NextBoot.Because)
	}
	maps.Copy(files, linuxtest.Files(map[string]string{ModulesFile: "", "proc/cmdline": "composefs=12ab\n"}))
	m := machineOf(files)
	m.calls[OpUname] = "release 6\n"
	verdicts, err := Open(m, fact.Options{}).Check(t.Context(), "lone", new(fact.Report))
	if err != nil || verdicts[0].NextBoot.Outcome != fact.VerdictBlocked {
		t.Errorf("%+v, %v", verdicts, err)
	}
}

// TestDeploymentUnread: what of another deployment cannot be read may be otherwise.
func TestDeploymentUnread(t *testing.T) {
	for _, part := range []string{"nothing", "b.0/etc/modprobe.d/a.conf", "b.0/usr/lib/modules", "modules.dep"} {
		files := ostreeDisk(deployed{"a", "6.1.0", stops, ""}, deployed{"b", "6.1.0", stops, ""})
		files["lib/modules/6.1.0/modules.dep"] = linuxtest.File("kernel/lone.ko:\n")
		refused := linuxtest.Refusing(files, part, errors.ErrUnsupported)
		m := diskMachine{hostfs.Of(files), machineOf(files)}
		m.FS = refusedFS{m.FS, refused}
		o := fact.Options{Image: true, Kernel: "6.1.0"}
		verdicts, err := Open(m, o).Check(t.Context(), "lone", new(fact.Report))
		if err != nil || len(verdicts) != 1 || verdicts[0].NextBoot.Outcome == fact.VerdictAbsent ||
			(verdicts[0].NextBoot.Outcome == fact.VerdictBlocked) != (part == "nothing") {
			t.Errorf("%s: %+v, %v", part, verdicts, err)
		}
	}
}

// A refusedFS is a root of which another file system refuses to open parts.
type refusedFS struct {
	hostfs.FS
	refuses fs.FS
}

func (r refusedFS) Open(name string) (fs.File, error) {
	if _, err := r.refuses.Open(name); errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return r.FS.Open(name)
}

func (r refusedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := r.refuses.Open(name); errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return r.FS.ReadDir(name)
}
