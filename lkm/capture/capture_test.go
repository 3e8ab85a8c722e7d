// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

const lsmodText = "Module                  Size  Used by\nnvme                   57344  3\n" +
	"nvme_core             184320  5 nvme\n"

// A capture that went through other hands is read like the original.
func TestCaptureCleanUp(t *testing.T) {
	wide := func(order binary.AppendByteOrder, mark bool) []byte {
		var b []byte
		if mark {
			b = order.AppendUint16(b, 0xfeff)
		}
		for _, u := range utf16.Encode([]rune(lsmodText)) {
			b = order.AppendUint16(b, u)
		}
		return b
	}
	for name, text := range map[string][]byte{
		"plain":           []byte(lsmodText),
		"CRLF":            []byte(strings.ReplaceAll(lsmodText, "\n", "\r\n")),
		"BOM":             []byte("\ufeff" + lsmodText),
		"UTF-16LE":        wide(binary.LittleEndian, true),
		"UTF-16BE":        wide(binary.BigEndian, true),
		"UTF-16LE no BOM": wide(binary.LittleEndian, false),
		"UTF-16BE no BOM": wide(binary.BigEndian, false),
		"colors":          []byte(strings.ReplaceAll(lsmodText, "nvme", "\x1b[01;31m\x1b[Knvme\x1b[m\x1b[K")),
		"prompt":          []byte("user@host ~ $ lsmod\n" + lsmodText + "user@host ~ $ \n"),
		"blank lines":     []byte("\n\n" + lsmodText + "\n\n"),
		"title":           []byte("\x1b]0;user@host: ~\x07" + lsmodText),
	} {
		s, err := capture.Read(bytes.NewReader(text), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		core := s.Module("linux_module:nvme_core")
		if len(s.Modules) != 2 || core == nil || !slices.Equal(core.UsedBy, []string{"nvme"}) ||
			outcome(t, s, linux.SourceLsmod) != lkm.OutcomeOK || len(s.Problems) != 0 {
			t.Errorf("%s: %d modules, %v, %v", name, len(s.Modules), s.Sources, s.Problems)
		}
		if !s.TakenAt.IsZero() || s.Live != "" || core.Linux.Taints != nil {
			t.Errorf("%s: a capture knows no time, no kernel and no taint: %+v", name, s)
		}
	}
}

func TestCaptureStrayAndCut(t *testing.T) {
	s, err := capture.Read(strings.NewReader(lsmodText+"Segmentation fault\n"), "")
	if err != nil || len(s.Modules) != 2 || outcome(t, s, linux.SourceLsmod) != lkm.OutcomePartial ||
		s.Problems[0].Line != 4 {
		t.Errorf("stray line: %v, %+v", err, s)
	}
	for _, cut := range []int{1, 3, 8, 20} {
		s, err := capture.Read(strings.NewReader(lsmodText[:len(lsmodText)-cut]), "")
		if err != nil || outcome(t, s, linux.SourceLsmod) != lkm.OutcomePartial {
			t.Errorf("cut by %d: %v, %+v", cut, err, s)
		}
	}
	s, err = capture.Read(strings.NewReader("Module                  Size  Used by\n"), "")
	if err != nil || len(s.Modules) != 0 || outcome(t, s, linux.SourceLsmod) != lkm.OutcomeOK {
		t.Errorf("a header alone is an empty list: %v, %+v", err, s)
	}
	s, err = capture.Read(strings.NewReader("nvme 57344 3 - Live 0x0000000000000000 (OE)\n"), "")
	if err != nil || !slices.Equal(s.Modules[0].Linux.Taints, []string{"O", "E"}) ||
		outcome(t, s, linux.SourceModules) != lkm.OutcomeOK {
		t.Errorf("proc_modules: %v, %+v", err, s)
	}
}

// A long text is what its beginning is; only some kinds may have rows deep in the text.
func TestCaptureLong(t *testing.T) {
	var lsmod, drivers, objects, report strings.Builder
	lsmod.WriteString("Module                  Size  Used by\n")
	drivers.WriteString("Module Name  Display Name           Driver Type   Link Date\n" +
		"============ ====================== ============= ======================\n")
	objects.WriteString("[")
	report.WriteString("[System Summary]\n\nItem\tValue\nOS Name\tMicrosoft Windows\n\n[Tasks]\n\n")
	const n = 3000
	for i := range n {
		fmt.Fprintf(&lsmod, "module_%04d         57344  0\n", i)
		fmt.Fprintf(&drivers, "%-12s %-22s %-13s %s\n", fmt.Sprintf("driver%04d", i), "Some driver",
			"Kernel", "19/05/2015 05:28:03")
		fmt.Fprintf(&objects,
			`{"Name":"driver%04d","State":"Running","PathName":"C:\\Windows\\System32\\drivers\\d%04d.sys"},`, i, i)
		fmt.Fprintf(&report, "task %d\tc:\\windows\\system32\\task.exe\t%d\tsome more of it\n", i, i)
	}
	objects.WriteString(`{"Name":"last","State":"Stopped"}]`)
	report.WriteString("\n[System Drivers]\n\n" +
		"Name\tDescription\tFile\tType\tStarted\tStart Mode\tState\tStatus\tError " +
		"Control\tAccept Pause\tAccept Stop\t\n")
	report.WriteString("acpi\tACPI\tc:\\windows\\system32\\drivers\\acpi.sys\tKernel " +
		"Driver\tYes\tBoot\tRunning\tOK\tCritical\tNo\tYes\t\n")
	for name, c := range map[string]struct {
		text string
		rows int
	}{"lsmod": {lsmod.String(), n}, "driverquery": {drivers.String(), n}, "JSON": {objects.String(), n + 1},
		"msinfo32": {report.String(), 1}} {
		s, err := capture.Read(strings.NewReader(c.text), "")
		if err != nil || len(s.Modules) != c.rows || len(s.Problems) > 0 || len(c.text) < (64<<10) {
			t.Errorf("%s, %d bytes: %v, %+v", name, len(c.text), err, s)
		}
	}
	if s, err := capture.Read(strings.NewReader(strings.Repeat("lorem ipsum\n", 10000)+lsmod.String()), ""); s != nil ||
		!errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("after other text: %v, %v", s, err)
	}
	if s, err := capture.Read(strings.NewReader(strings.Repeat("lorem ipsum\n", 100)+lsmod.String()),
		capture.Lsmod); err != nil || len(s.Modules) != n {
		t.Errorf("after other text, named: %v", err)
	}
}

func TestCaptureRefuses(t *testing.T) {
	for _, text := range []string{"", "\n\n", "hello world\n", "total 12\ndrwxr-xr-x 3 root root 4096 Nov 23 03:29 .\n",
		`{"modules":[]}`, "lsmod: command not found\n",
		"LSMOD(8)  lsmod  LSMOD(8)\n\nNAME\n  lsmod - Show the status of modules in the lkm.Linux Kernel\n",
		"\x7fELF\x02\x01\x01\x00", "name,size\nnvme,5\n"} {
		if s, err := capture.Read(strings.NewReader(text), ""); s != nil || !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	if _, err := capture.Read(strings.NewReader(lsmodText), capture.ProcModules); !errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("another kind: %v", err)
	}
	if _, err := capture.Read(strings.NewReader(lsmodText), "tea leaves"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no kind: %v", err)
	}
}

// Captures from real machines: every row is a module, with the text's values.
func TestRealLinuxCaptures(t *testing.T) {
	dir := testdata.Dir(t, "captures")
	lsmod := regexp.MustCompile(`^([A-Za-z0-9_]+) +(\d+) +(-?\d+)(?: ([A-Za-z0-9_,]+)(?:,\[permanent\])?)?(?: ` +
		`\[permanent\])? *$`)
	procModules := regexp.MustCompile(`^([A-Za-z0-9_]+) (\d+) (-?\d+) (\S+) Live (0x[0-9a-f]+)(?: \(([A-Z]+)\))?$`)
	for file, row := range map[string]*regexp.Regexp{
		"insights-lsmod/kml_lsmod.txt":            lsmod,
		"insights-lsmod/kml_lsmod_no_loaded.txt":  lsmod,
		"insights-lsmod/lsmodinfo.txt":            lsmod,
		"lsmod-amzn1-mondoo/capture.txt":          lsmod,
		"lsmod-arch-mondoo/capture.txt":           lsmod,
		"lsmod-busybox-tapo-c110/lsmod.txt":       lsmod,
		"lsmod-centos7-mondoo/capture.txt":        lsmod,
		"lsmod-centos77/capture.txt":              lsmod,
		"lsmod-debian-mondoo/capture.txt":         lsmod,
		"lsmod-ohai/capture.txt":                  lsmod,
		"lsmod-refcnt-minus1-kkm/capture.txt":     lsmod,
		"lsmod-refcnt-minus1-procfs3/capture.txt": lsmod,
		"lsmod-rhcos41/lsmod":                     lsmod,
		"lsmod-ubuntu1804/capture.txt":            lsmod,
		"proc-modules-forced-f/capture.txt":       procModules,
		"proc-modules-jc/capture.txt":             procModules,
		"proc-modules-rhcos41/modules":            procModules,
		"procmodules-ingenic-motor/capture.txt":   procModules,
	} {
		text, err := os.ReadFile(filepath.Join(dir, "linux", filepath.FromSlash(file)))
		if err != nil {
			t.Error(err)
			continue
		}
		s, err := capture.Read(bytes.NewReader(text), "")
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		rows := 0
		seen := make(map[string]int)
		for line := range strings.Lines(string(text)) {
			m := row.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
			if m == nil {
				continue
			}
			rows++
			seen[m[1]]++
			id := "linux_module:" + m[1]
			if seen[m[1]] > 1 {
				id += "#" + strconv.Itoa(seen[m[1]])
			}
			got := s.Module(id)
			if got == nil {
				t.Errorf("%s: %s is missing", file, id)
				continue
			}
			users := strings.FieldsFunc(strings.TrimSuffix(strings.TrimSuffix(m[4], "[permanent],"), ",[permanent]"),
				func(r rune) bool { return r == ',' || r == '-' })
			if got.Size.String() != m[2] || got.Refs.String() != m[3] || !slices.Equal(got.UsedBy, users) {
				t.Errorf("%s: %q became size %s, refs %s, users %v", file, line, got.Size, got.Refs, got.UsedBy)
			}
			if len(m) > 6 && strings.Join(got.Linux.Taints, "") != m[6] {
				t.Errorf("%s: %q became taints %v", file, line, got.Linux.Taints)
			}
		}
		if rows == 0 || rows != len(s.Modules) {
			t.Errorf("%s: %d rows, %d modules", file, rows, len(s.Modules))
		}
	}
	man, err := os.Open(filepath.Join(dir, "linux", "lsmod-not-a-capture-manpage", "lsmod.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer man.Close()
	if _, err := capture.Read(man, ""); !errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("a manual page: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(lsmodText))
	f.Add([]byte("nvme 57344 3 - Live 0x0000000000000000 (OE)\n"))
	f.Add([]byte("\xff\xfen\x00v\x00"))
	for _, seed := range bomb.Seeds(bomb.Capture) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := capture.Read(bytes.NewReader(b), "")
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if s == nil {
			return
		}
		if len(s.Modules) > len(b) || len(s.Sources) == 0 || !s.TakenAt.IsZero() {
			t.Fatalf("%d modules of %d bytes", len(s.Modules), len(b))
		}
	})
}

func outcome(t *testing.T, s *lkm.Snapshot, source string) lkm.Outcome {
	t.Helper()
	src, ok := s.Source(source)
	if !ok {
		t.Fatalf("no source %s in %v", source, s.Sources)
	}
	return src.Outcome
}
