// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// A member is a file of a made-up archive.
type member struct {
	name, text string
	kind       byte // of tar; 0 is a file
	link       string
}

func tarOf(t *testing.T, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.text)), Typeflag: m.kind, Linkname: m.link}
		if m.kind != 0 {
			h.Size = 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == 0 {
			w.Write([]byte(m.text))
		}
	}
	w.Close()
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

const (
	procText = "nvme 57344 3 - Live 0x0000000000000000 (OE)\nnvme_core 184320 5 nvme, Live 0x0000000000000000\n"
	infoText = "filename:       /lib/modules/6.1.0/extra/nvme.ko\nversion:        1.2\nlicense:        GPL\n" +
		"name:           nvme\n"
	uname = "Linux web01 6.1.0 #1 SMP Mon Jan 1 00:00:00 UTC 2024 x86_64 GNU/Linux\n"
)

// sosMembers are files of a made-up sosreport.
var sosMembers = []member{
	{name: "sosreport-web01/sos_commands/kernel/lsmod", text: lsmodText},
	{name: "sosreport-web01/lsmod", kind: tar.TypeSymlink, link: "sos_commands/kernel/lsmod"},
	{name: "sosreport-web01/sos_commands/kernel/modinfo_ALL_MODULES", text: infoText},
	{name: "sosreport-web01/sos_commands/kernel/uname_-a", text: uname},
	{name: "sosreport-web01/proc/modules", text: procText},
	{name: "sosreport-web01/sys/module/nvme/srcversion", text: "ABCDEF\n"},
	{name: "sosreport-web01/sys/module/nvme_core/taint", text: "\n"},
	{name: "sosreport-web01/proc/version", text: "Linux version 6.1.0 (builder@host) (gcc 12) #1 SMP\n"},
	{name: "sosreport-web01/proc/sys/kernel/tainted", text: "12288\n"},
	{name: "sosreport-web01/proc/sys/kernel/random/boot_id", text: "01234567-89ab-cdef-0123-456789abcdef\n"},
	{name: "sosreport-web01/etc/lsmod.txt", text: "evil 1 0\n"},
	{name: "sosreport-web01/dev/null", kind: tar.TypeChar},
}

// TestSosreport joins what a sosreport says of one machine, packed in each way.
func TestSosreport(t *testing.T) {
	plain := tarOf(t, sosMembers)
	z, _ := zstd.NewWriter(nil)
	for name, b := range map[string][]byte{"tar": plain, "gzip": gzipped(plain), "zstd": z.EncodeAll(plain, nil)} {
		if !capture.IsArchive(b) {
			t.Errorf("%s is not an archive", name)
		}
		hosts, err := capture.ReadArchive(bytes.NewReader(b))
		if err != nil || len(hosts) != 1 {
			t.Fatal(name, err, hosts)
		}
		s := hosts[0].Snapshot
		m := s.Module("linux_module:nvme")
		if len(s.Modules) != 2 || m == nil || s.Release != "6.1.0" || s.Arch != "x86_64" ||
			s.Root != "sosreport-web01" || s.Kernel.Taint.String() != "12288" || len(s.Kernel.TaintFlags) != 2 ||
			s.BootID != "01234567-89ab-cdef-0123-456789abcdef" {
			t.Fatalf("%s: %+v", name, s)
		}
		if m.State != lkm.StateLoaded || m.Version != "1.2" || m.License != "GPL" || m.Size.String() != "57344" ||
			strings.Join(m.Linux.Taints, "") != "OE" || m.Linux.Srcversion != "ABCDEF" || m.Refs.String() != "3" {
			t.Errorf("%s: %+v %+v", name, m, m.Linux)
		}
		for _, source := range []string{linux.SourceLsmod, linux.SourceModules, linux.SourceModinfo,
			capture.SourceArchive} {
			if outcome(t, s, source) != lkm.OutcomeOK {
				t.Errorf("%s: %s: %v, %v", name, source, s.Sources, s.Problems)
			}
		}
	}
}

// TestArchiveOfHosts gives each folder of captures a snapshot of its own, and joins those of one folder.
func TestArchiveOfHosts(t *testing.T) {
	const sc = "SERVICE_NAME: acpi\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n        WIN32_EXIT_CODE    : 0  (0x0)\n"
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range []member{{name: "a/lsmod.txt", text: lsmodText}, {name: `b\lsmod.txt`, text: lsmodText},
		{name: "b/later.txt", text: lsmodText}, {name: "win/sc.txt", text: sc}, {name: "a/readme.md", text: "text\n"},
		{name: "../../lsmod.txt", text: lsmodText}} {
		f, err := w.Create(m.name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(m.text))
	}
	w.Close()
	hosts, err := capture.ReadArchive(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name+" "+string(h.Snapshot.OS))
		if outcome(t, h.Snapshot, capture.SourceArchive) != lkm.OutcomePartial {
			t.Errorf("%s: a name that leads out of the archive is not reported: %v", h.Name, h.Snapshot.Problems)
		}
	}
	if got := strings.Join(names, ", "); got != "a linux, b linux, b/later.txt linux, win windows" {
		t.Error(got)
	}
}

// TestOtherCollectors reads a supportconfig and a collection of UAC.
func TestOtherCollectors(t *testing.T) {
	const head = "\n#==[ Command ]======================================#\n# "
	scc := head + "/sbin/lsmod\n" + lsmodText + head + "/sbin/modinfo nvme\n" + infoText + head + "/bin/uptime\nup\n" +
		head + "/bin/uname -a\n" + uname
	for name, members := range map[string][]member{
		"supportconfig": {{name: "scc_web_240101/modules.txt", text: scc}},
		"uac": {{name: "live_response/system/lsmod.txt", text: lsmodText},
			{name: "[root]/proc/modules", text: procText}, {name: "live_response/system/uname_-a.txt", text: uname},
			{name: "[root]/etc/x.txt", text: lsmodText}},
	} {
		hosts, err := capture.ReadArchive(bytes.NewReader(gzipped(tarOf(t, members))))
		if err != nil || len(hosts) != 1 || len(hosts[0].Snapshot.Modules) != 2 || hosts[0].Snapshot.Err() != nil ||
			hosts[0].Snapshot.Release != "6.1.0" {
			t.Errorf("%s: %v, %+v", name, err, hosts)
		}
	}
}

// TestPartsFillIn: what a collector filtered says more of the modules that are listed, and is no list by itself.
func TestPartsFillIn(t *testing.T) {
	const dir = "uac/live_response/system/"
	tainted := member{name: dir + "modules_tainting_the_kernel.txt", text: procText[:strings.Index(procText, "\n")+1] +
		"gone 1 0 - Live 0x0000000000000000 (E)\n"}
	files := []member{tainted, {name: dir + "lsmod.txt", text: lsmodText},
		{name: dir + "cat_proc_sys_kernel_tainted.txt", text: "4096\n"},
		{name: "uac/[root]/proc/version", text: "Linux version 6.1.0 (b@h) #1\n"}}
	hosts, err := capture.ReadArchive(bytes.NewReader(tarOf(t, files)))
	if err != nil || len(hosts) != 1 {
		t.Fatal(err, hosts)
	}
	s := hosts[0].Snapshot
	m := s.Module("linux_module:nvme")
	if m == nil || strings.Join(m.Linux.Taints, "") != "OE" || s.Module("linux_module:gone") != nil ||
		len(s.Sources) != 2 || s.Err() != nil || s.Release != "6.1.0" || s.Kernel.Taint.String() != "4096" {
		t.Errorf("%+v, %v", s, s.Err())
	}
	if hosts, err := capture.ReadArchive(bytes.NewReader(tarOf(t, files[:1]))); !errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("a part alone: %v, %v", hosts, err)
	}
	files[2].text = "no mask\n"
	hosts, err = capture.ReadArchive(bytes.NewReader(tarOf(t, files)))
	if err != nil || hosts[0].Snapshot.Err() == nil || !hosts[0].Snapshot.Kernel.IsZero() {
		t.Errorf("a taint that is no number: %v, %v", hosts, err)
	}
}

// TestHostileArchives refuses, or reports, what a hostile archive holds.
func TestHostileArchives(t *testing.T) {
	good := member{name: "a/lsmod.txt", text: lsmodText}
	for name, c := range map[string]struct {
		members []member
		partial bool // else refused
	}{
		"nothing known":  {[]member{{name: "a/x.txt", text: "hello\n"}}, false},
		"only links":     {[]member{{name: "proc/modules", kind: tar.TypeSymlink, link: "/proc/modules"}}, false},
		"a known link":   {[]member{good, {name: "a/proc/modules", kind: tar.TypeLink, link: "../../x"}}, true},
		"twice":          {[]member{good, good}, true},
		"leads out":      {[]member{good, {name: "../lsmod.txt", text: lsmodText}}, true},
		"a bad known":    {[]member{good, {name: "a/proc/modules", text: "hello\n"}}, true},
		"an empty known": {[]member{good, {name: "a/proc/modules"}}, true},
	} {
		hosts, err := capture.ReadArchive(bytes.NewReader(tarOf(t, c.members)))
		if !c.partial {
			if !errors.Is(err, lkm.ErrMalformed) {
				t.Errorf("%s: %v, %+v", name, err, hosts)
			}
			continue
		}
		if err != nil || len(hosts) != 1 || outcome(t, hosts[0].Snapshot, capture.SourceArchive) != lkm.OutcomePartial {
			t.Errorf("%s: %v, %+v", name, err, hosts)
		}
	}
	whole := gzipped(tarOf(t, append([]member{good}, sosMembers...)))
	for cut := 1; cut < len(whole); cut += 7 {
		hosts, err := capture.ReadArchive(bytes.NewReader(whole[:len(whole)-cut]))
		for _, h := range hosts {
			if outcome(t, h.Snapshot, capture.SourceArchive) == lkm.OutcomeOK {
				t.Fatalf("cut by %d: %+v", cut, h.Snapshot.Sources)
			}
		}
		if err == nil && len(hosts) == 0 {
			t.Fatalf("cut by %d: neither hosts nor an error", cut)
		}
	}
}

// TestDecompressionBomb ends an archive that decompresses to far more than it is.
func TestDecompressionBomb(t *testing.T) {
	text := lsmodText + strings.Repeat("\x00", 64<<20)
	_, err := capture.ReadArchive(bytes.NewReader(gzipped(tarOf(t, []member{
		{name: "a/x.bin", text: text}, {name: "a/lsmod.txt", text: lsmodText}}))))
	if !errors.Is(err, lkm.ErrMalformed) || !errors.Is(err, lkm.ErrTooLarge) {
		t.Error(err)
	}
}

func FuzzReadArchive(f *testing.F) {
	for _, seed := range bomb.Seeds(bomb.Archive) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hosts, err := capture.ReadArchive(bytes.NewReader(b))
		if (len(hosts) == 0) == (err == nil) {
			t.Fatalf("%v, %v", hosts, err)
		}
	})
}

// TestArchiveOfSysfs: GNU tar fills a file of sysfs up with NULs to the page that the kernel says it has, and some
// collectors copy no byte of it, which says nothing.
func TestArchiveOfSysfs(t *testing.T) {
	page := func(text string) string { return text + strings.Repeat("\x00", 4096-len(text)) }
	for _, tt := range []struct {
		taint, version string
		taints         []string
		want           string
	}{
		{page("O\n"), page("535.1\n"), []string{"O"}, "535.1"},
		{page("\n"), page("\n"), []string{}, ""},
		{"\n", "535.1\n", []string{}, "535.1"},
		{"", "", nil, ""},
		{page(""), page(""), nil, ""},
	} {
		hosts, err := capture.ReadArchive(bytes.NewReader(tarOf(t, []member{{name: "x/lsmod.txt", text: lsmodText},
			{name: "x/sys/module/nvme/taint", text: tt.taint},
			{name: "x/sys/module/nvme/version", text: tt.version},
			{name: "x/sys/module/nvme/srcversion", text: tt.version}})))
		if err != nil || len(hosts) != 1 {
			t.Fatal(err, hosts)
		}
		m := hosts[0].Snapshot.Module("linux_module:nvme")
		if m == nil || (m.Linux.Taints == nil) != (tt.taints == nil) || !slices.Equal(m.Linux.Taints, tt.taints) ||
			m.Version != tt.want || m.Linux.Version != tt.want || m.Linux.Srcversion != tt.want {
			t.Errorf("%.8q, %.8q: %+v", tt.taint, tt.version, m)
		}
	}
}
