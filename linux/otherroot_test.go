// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"maps"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// bootsOf are the loader entries of a test's command lines, by their names.
func bootsOf(lines ...string) map[string]string {
	files := map[string]string{"etc/modprobe.d/a.conf": stops}
	for i, line := range lines {
		files["boot/loader/entries/"+string(rune('a'+i))+".conf"] = "version 6\noptions " + line + "\n"
	}
	return files
}

// otherRoots are entries of one release, of which some name another root than the first.
var otherRoots = []struct {
	name  string
	lines []string
	fstab string
	first string // the default entry
	want  fact.VerdictOutcome
}{
	{"no root named", []string{"quiet", "ro"}, "", "", fact.VerdictBlocked},
	{"one root", []string{"root=UUID=A", "root=UUID=a quiet", "root=/dev/disk/by-uuid/A"}, "", "", fact.VerdictBlocked},
	{"one subvolume", []string{"root=UUID=1 rootflags=subvol=@", "root=UUID=1 rootflags=ro,subvol=/@"}, "", "",
		fact.VerdictBlocked},
	{"one by its number", []string{"rootflags=subvolid=256", "rootflags=subvolid=256,ro"}, "", "", fact.VerdictBlocked},
	{"a snapshot", []string{"rootflags=subvol=@", "rootflags=subvol=@/.snapshots/3/snapshot"}, "", "a",
		fact.VerdictUnknown},
	{"a snapshot, and no default", []string{"rootflags=subvol=@", "rootflags=subvol=@snap"}, "", "",
		fact.VerdictUnknown},
	{"the default subvolume and another", []string{"root=UUID=1", "root=UUID=1 rootflags=subvol=@snap"}, "", "a",
		fact.VerdictUnknown},
	{"a number and a path", []string{"rootflags=subvolid=256", "rootflags=subvol=@"}, "", "a", fact.VerdictUnknown},
	{"two systems", []string{"root=UUID=1", "root=UUID=2"}, "", "a", fact.VerdictUnknown},
	{"two systems, by fstab", []string{"root=UUID=1", "root=UUID=2"}, "UUID=1 / ext4 defaults 0 1\n", "b",
		fact.VerdictUnknown},
	{"the last root= counts", []string{"root=UUID=2 root=UUID=1", "root=UUID=1"}, "", "a", fact.VerdictBlocked},
	{"options of another file system", []string{"root=UUID=1 rootflags=discard", "root=UUID=1 rootflags=noatime"}, "",
		"a", fact.VerdictBlocked},
}

// TestOtherRootOfAnImage: an entry that may start another root is not judged with this one's configuration.
func TestOtherRootOfAnImage(t *testing.T) {
	for _, tt := range otherRoots {
		files := bootsOf(tt.lines...)
		if tt.fstab != "" {
			files["etc/fstab"] = tt.fstab
		}
		if tt.first != "" {
			files["boot/loader/loader.conf"] = "default " + tt.first + "\n"
		}
		v := checkOf(t, imageOf(files), "lone")
		if v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v.NextBoot)
		}
		if tt.want == fact.VerdictUnknown && v.NextBoot.Because.Code != ReasonOtherRoot {
			t.Errorf("%s: %+v", tt.name, v.NextBoot.Because)
		}
	}
	// What this root itself leaves open is not closed by an entry of another one.
	files := bootsOf("root=UUID=1", "root=UUID=2")
	files["boot/loader/loader.conf"] = "default a\n"
	delete(files, "etc/modprobe.d/a.conf")
	if v := checkOf(t, imageOf(files), "lone"); v.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("open here: %s", outcomes(v))
	}
	files["etc/modprobe.d/a.conf"] = stops
	v := checkOf(t, imageOf(files), "lone")
	if len(v.NextBoot.Entries) != 2 || v.NextBoot.Entries[1].Outcome != fact.VerdictBlocked ||
		v.NextBoot.Entries[0].Outcome != fact.VerdictUnknown {
		t.Errorf("%+v", v.NextBoot.Entries)
	}
}

// mounted is a line of a list of mounts, for a root with these last three fields.
func mounted(source string) string { return "1 0 0:30 /@ / rw,relatime - " + source + "\n" }

// TestOtherRootOfARunningMachine: entries are compared with the root that runs.
func TestOtherRootOfARunningMachine(t *testing.T) {
	const btrfs = "btrfs /dev/sda2 rw,subvolid=256,subvol=/@"
	for _, tt := range []struct {
		name, runs, mount string
		lines             []string
		more              map[string]string
		want              fact.VerdictOutcome
	}{
		{"the same words", "root=UUID=1 rootflags=subvol=@", "", []string{"root=UUID=1 rootflags=subvol=@"}, nil,
			fact.VerdictBlocked},
		{"all entries another", "root=UUID=1 rootflags=subvol=@", "", []string{"root=UUID=1 rootflags=subvol=@b"}, nil,
			fact.VerdictUnknown},
		{"the mounted one's path", "root=UUID=1", mounted(btrfs), []string{"root=UUID=1 rootflags=subvol=@"}, nil,
			fact.VerdictBlocked},
		{"the mounted one's number", "root=UUID=1", mounted(btrfs), []string{"root=UUID=1 rootflags=subvolid=256"}, nil,
			fact.VerdictBlocked},
		{"another number", "root=UUID=1", mounted(btrfs), []string{"rootflags=subvolid=257"}, nil, fact.VerdictUnknown},
		{"the default, which may be another", "root=UUID=1 rootflags=subvol=@", mounted(btrfs), []string{"root=UUID=1"},
			nil, fact.VerdictUnknown},
		{"the default of both", "root=UUID=1", mounted(btrfs), []string{"root=UUID=1"}, nil, fact.VerdictBlocked},
		{"another device", "root=UUID=1", mounted("ext4 /dev/sda2 rw"), []string{"root=UUID=3"}, nil,
			fact.VerdictUnknown},
		{"the mounted device", "root=UUID=1", mounted("ext4 /dev/sda2 rw"), []string{"root=/dev/sda2"}, nil,
			fact.VerdictBlocked},
		{"a link to the mounted device", "root=/dev/sda2", "", []string{"root=UUID=2"}, nil, fact.VerdictBlocked},
		{"a link to another device", "root=/dev/sda3", "", []string{"root=UUID=2"}, nil, fact.VerdictUnknown},
		{"entries without a root", "root=UUID=1", "", []string{"quiet"}, nil, fact.VerdictBlocked},
		{"left out of a recording", "root=[redacted]", "", []string{"root=[redacted] quiet"}, nil, fact.VerdictBlocked},
	} {
		files := imageOf(bootsOf(tt.lines...))
		maps.Copy(files, linuxtest.Files(map[string]string{ModulesFile: "", "proc/cmdline": tt.runs + "\n"}))
		files["dev/disk/by-uuid/2"] = linuxtest.Link("../../sda2")
		if tt.mount != "" {
			files[mountInfoFile] = linuxtest.File(tt.mount)
		}
		m := diskOf(files)
		m.calls[OpUname] = "release 6\n"
		verdicts, err := Open(m, fact.Options{}).Check(t.Context(), "lone", new(fact.Report))
		if err != nil || len(verdicts) != 1 || verdicts[0].NextBoot.Outcome != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, verdicts, err)
		}
	}
}

// TestPendingSnapshot: a newer snapshot that was made to be the root may start where the entry leaves the subvolume to
// the file system.
func TestPendingSnapshot(t *testing.T) {
	const info = "<?xml version=\"1.0\"?>\n<snapshot>\n  <description>"
	for _, tt := range []struct {
		name, line, number, about string
		want                      fact.VerdictOutcome
	}{
		{"an update", "root=UUID=1", "6", "Snapshot Update of #5", fact.VerdictUnknown},
		{"a rollback", "root=UUID=1", "10", "writable copy of #2", fact.VerdictUnknown},
		{"a copy before a change", "root=UUID=1", "6", "zypp(zypper)", fact.VerdictBlocked},
		{"an older update", "root=UUID=1", "4", "Snapshot Update of #3", fact.VerdictBlocked},
		{"the entry names its own", "root=UUID=1 rootflags=subvol=@/.snapshots/5/snapshot", "6",
			"Snapshot Update of #5", fact.VerdictBlocked},
	} {
		files := imageOf(bootsOf(tt.line))
		mount := mounted("btrfs /dev/sda2 rw,subvolid=266,subvol=/@/.snapshots/5/snapshot")
		maps.Copy(files, linuxtest.Files(map[string]string{ModulesFile: "", "proc/cmdline": "root=UUID=1\n",
			mountInfoFile: mount, ".snapshots/" + tt.number + "/info.xml": info + tt.about + "</description>\n"}))
		m := diskOf(files)
		m.calls[OpUname] = "release 6\n"
		verdicts, err := Open(m, fact.Options{}).Check(t.Context(), "lone", new(fact.Report))
		if err != nil || len(verdicts) != 1 || verdicts[0].NextBoot.Outcome != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, verdicts, err)
		}
		refused := linuxtest.Refusing(files, ".snapshots", errors.ErrUnsupported)
		m.FS = refusedFS{m.FS, refused}
		verdicts, err = Open(m, fact.Options{}).Check(t.Context(), "lone", new(fact.Report))
		named := tt.name == "the entry names its own"
		if err != nil ||
			(verdicts[0].NextBoot.Outcome == fact.VerdictBlocked) != named {
			t.Errorf("%s, refused: %+v, %v", tt.name, verdicts, err)
		}
	}
}
