// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

var count = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

func TestModuleListLines(t *testing.T) {
	none := []string{}
	for _, tt := range []struct {
		line string
		want listEntry
	}{
		{"nvme 57344 3 - Live 0xffffffffc0a14000",
			listEntry{"nvme", 57344, fact.CountOf(3), none, false, "Live", 0xffffffffc0a14000, ""}},
		{"nvme_core 184320 5 nvme, Live 0x0000000000000000",
			listEntry{"nvme_core", 184320, fact.CountOf(5), []string{"nvme"}, false, "Live", 0, ""}},
		{"vsock 45056 5 vsock_loopback,vmw_vsock_vmci_transport, Live 0x0 (OE)",
			listEntry{"vsock", 45056, fact.CountOf(5), []string{"vsock_loopback", "vmw_vsock_vmci_transport"},
				false, "Live", 0, "OE"}},
		{"fuse 4096 1 [permanent], Live 0x0000000000000000",
			listEntry{"fuse", 4096, fact.CountOf(1), none, true, "Live", 0, ""}},
		{"fuse 4096 2 cuse,[permanent], Live 0x0000000000000000",
			listEntry{"fuse", 4096, fact.CountOf(2), []string{"cuse"}, true, "Live", 0, ""}},
		{"mine 16384 1 - Loading 0xffffffffc0000000 (OE+)",
			listEntry{"mine", 16384, fact.CountOf(1), none, false, "Loading", 0xffffffffc0000000, "OE"}},
		{"mine 16384 -1 - Unloading 0xffffffffc0000000 (POE-)",
			listEntry{"mine", 16384, fact.CountOf(-1), none, false, "Unloading", 0xffffffffc0000000, "POE"}},
		{"mine 16384 0 - Live 0xc051e000 (+)",
			listEntry{"mine", 16384, fact.CountOf(0), none, false, "Live", 0xc051e000, ""}},
		{"noun 16384 - - Live 0xc051e000",
			listEntry{"noun", 16384, fact.Count{}, nil, false, "Live", 0xc051e000, ""}},
		{"later 16384 0 - Dreaming 0xc051e000",
			listEntry{"later", 16384, fact.CountOf(0), none, false, "Dreaming", 0xc051e000, ""}},
		{"bad\xff\x1b 1 0 - Live 0x0",
			listEntry{`bad\xff` + "\x1b", 1, fact.CountOf(0), none, false, "Live", 0, ""}},
	} {
		var l moduleList
		var r fact.Report
		if err := l.Parse(tt.line+"\n", &r); err != nil || len(l.Entries) != 1 {
			t.Errorf("%q: %d entries, %v, %v", tt.line, len(l.Entries), err, r.Problems)
			continue
		}
		if diff := cmp.Diff(tt.want, l.Entries[0], count); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
		if nilness := (l.Entries[0].UsedBy == nil) == (tt.want.UsedBy == nil); !nilness {
			t.Errorf("%q: users %#v, want %#v", tt.line, l.Entries[0].UsedBy, tt.want.UsedBy)
		}
	}
}

func TestModuleListBadLines(t *testing.T) {
	for line, field := range map[string]string{
		"":                                       "",
		"nvme":                                   "",
		"nvme 1 0 - Live":                        "",
		"a b 1 0 - Live 0x0 (O) more":            "",
		"nvme x 0 - Live 0x0":                    "size",
		"nvme -1 0 - Live 0x0":                   "size",
		"nvme 99999999999999999999 0 - Live 0x0": "size",
		"nvme 1 zero - Live 0x0":                 "refcnt",
		"nvme 1 0 - L1ve 0x0":                    "state",
		"nvme 1 0 - Live 1234":                   "address",
		"nvme 1 0 - Live 0x11111111111111111":    "address",
		"nvme 1 0 - Live 0x0 OE":                 "taints",
		"nvme 1 0 - Live 0x0 (o)":                "taints",
	} {
		var l moduleList
		var r fact.Report
		if err := l.Parse("good 1 0 - Live 0x0\n"+line+"\nalso 1 0 - Live 0x0\n", &r); err != nil {
			t.Fatal(err)
		}
		if len(l.Entries) != 2 || len(r.Problems) != 1 {
			t.Errorf("%q: %d entries, %v", line, len(l.Entries), r.Problems)
			continue
		}
		if bad := r.Problems[0]; bad.Field != field || bad.Line != 2 || !errors.Is(bad, fact.ErrMalformed) {
			t.Errorf("%q: %v, field %q line %d, want field %q line 2", line, bad, bad.Field, bad.Line, field)
		}
	}
}

func TestModuleListCutOff(t *testing.T) {
	var l moduleList
	var r fact.Report
	err := l.Parse("good 1 0 - Live 0x0\ncut 16384 0 - Li", &r)
	if err != nil || len(l.Entries) != 1 || len(r.Problems) != 1 || r.Problems[0].Field != "modules" {
		t.Errorf("%d entries, %v, %v", len(l.Entries), err, r.Problems)
	}
	r = fact.Report{}
	if err := l.Parse("", &r); err != nil || len(l.Entries) != 0 || len(r.Problems) != 0 {
		t.Errorf("empty text is an empty list: %v, %v", err, r.Problems)
	}
}

func TestModuleListManyBadLines(t *testing.T) {
	var l moduleList
	var r fact.Report
	err := l.Parse(strings.Repeat("junk\n", 1000), &r)
	if !errors.Is(err, fact.ErrMalformed) || len(r.Problems) != limit.Problems+1 || r.Count(SourceModules) != 1000 {
		t.Errorf("%v, %d kept of %d", err, len(r.Problems), r.Count(SourceModules))
	}
}

func TestParseReusesMemory(t *testing.T) {
	text := modulesText(250)
	var l moduleList
	r := new(fact.Report)
	l.Parse(text, r)
	if n := testing.AllocsPerRun(20, func() { l.Parse(text, r) }); n > 0 {
		t.Errorf("parsing again allocates %v times", n)
	}
}

// modulesText is a made-up /proc/modules of n lines.
func modulesText(n int) string {
	var b strings.Builder
	for i := range n {
		users := "-"
		if i > 1 && i%3 == 0 {
			users = fmt.Sprintf("mod_%03d,mod_%03d,", i-1, i-2)
		}
		taint := ""
		if i%10 == 0 {
			taint = " (OE)"
		}
		fmt.Fprintf(&b, "mod_%03d %d %d %s Live 0x%016x%s\n", i, 16384+4096*i, i%4, users,
			0xffffffffc0000000+uint64(i)<<14, taint)
	}
	return b.String()
}

// script is a file system whose files give another content at each open.
type script struct {
	fstest.MapFS
	contents map[string][]string
	opens    map[string]int
}

func (s *script) Open(name string) (fs.File, error) {
	texts, ok := s.contents[name]
	if !ok {
		return s.MapFS.Open(name)
	}
	n := min(s.opens[name], len(texts)-1)
	s.opens[name]++
	return fstest.MapFS{name: {Data: []byte(texts[n])}}.Open(name)
}

func newScript(list, seq []string) *script {
	s := &script{MapFS: fstest.MapFS{}, contents: map[string][]string{ModulesFile: list}, opens: map[string]int{}}
	if seq != nil {
		s.contents[ueventSeqFile] = seq
	}
	return s
}

func TestListIsReadAgainWhenItMoved(t *testing.T) {
	const a, b, c = "a 1 0 - Live 0x0\n", "b 1 0 - Live 0x0\n", "c 1 0 - Live 0x0\n"
	for _, tt := range []struct {
		name     string
		list     []string
		seq      []string
		want     string
		unsteady bool
		opens    int
	}{
		{"steady", []string{a + b}, []string{"5\n"}, "a b", false, 1},
		{"no counter", []string{a + b}, nil, "a b", false, 1},
		{"moved once", []string{a + a, a + b}, []string{"5", "6", "6", "6"}, "a b", false, 2},
		{"unrelated events", []string{a + b}, []string{"1", "2", "3", "4", "5", "6"}, "a b", false, 2},
		{"never steady", []string{a, a + b, a + b + c}, []string{"1", "2", "3", "4", "5", "6"}, "a b c", true, 3},
		{"repeated line", []string{a + b + a, a + b}, []string{"5"}, "a b", false, 2},
		{"repeats for ever", []string{a + b + a}, []string{"5"}, "a b", true, 3},
		{"cut once", []string{a + "b 1", a + b}, []string{"5"}, "a b", false, 2},
	} {
		fsys := newScript(tt.list, tt.seq)
		var l moduleList
		var r fact.Report
		if err := newListReader(fsys).Read(&l, &r); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var names []string
		for _, e := range l.Entries {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); got != tt.want || (r.Count(SourceModules) > 0) != tt.unsteady ||
			fsys.opens[ModulesFile] != tt.opens {
			t.Errorf("%s: %q, problems %v, %d reads; want %q, %v, %d", tt.name, got, r.Problems,
				fsys.opens[ModulesFile], tt.want, tt.unsteady, tt.opens)
		}
	}
	if err := newListReader(fstest.MapFS{}).Read(new(moduleList), new(fact.Report)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no list: %v", err)
	}
}

// A list without entries is empty only when the kernel's own file says so.
func TestReadRefusesAnEmptyListThatIsNone(t *testing.T) {
	for name, tt := range map[string]struct {
		file fstest.MapFile
		err  error
	}{
		"nothing loaded":   {fstest.MapFile{Mode: 0o444}, nil},
		"nobody's file":    {fstest.MapFile{}, fs.ErrPermission},
		"a device":         {fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}, fs.ErrPermission},
		"a pipe":           {fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644}, fs.ErrPermission},
		"no line of it":    {fstest.MapFile{Mode: 0o444, Data: []byte("what is\nthis\n")}, fact.ErrMalformed},
		"cut in the first": {fstest.MapFile{Mode: 0o444, Data: []byte("nvme 57")}, fact.ErrMalformed},
	} {
		err := newListReader(fstest.MapFS{ModulesFile: &tt.file}).Read(new(moduleList), new(fact.Report))
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}

func TestNoModuleSupport(t *testing.T) {
	dir := &fstest.MapFile{Mode: fs.ModeDir | 0o555}
	for name, tt := range map[string]struct {
		fsys fstest.MapFS
		want bool
		err  error
	}{
		"built without":  {fstest.MapFS{kernelDir: dir}, true, nil},
		"has modules":    {fstest.MapFS{disabledFile: {Data: []byte("0\n")}}, false, nil},
		"hidden":         {fstest.MapFS{kernelDir: {Mode: fs.ModeDir}}, false, fs.ErrPermission},
		"subset=pid":     {fstest.MapFS{"proc": dir}, false, fs.ErrNotExist},
		"not a sysctl":   {fstest.MapFS{kernelDir: {Data: []byte("x")}}, false, fact.ErrMalformed},
		"nothing at all": {fstest.MapFS{}, false, fs.ErrNotExist},
	} {
		got, err := noModuleSupport(tt.fsys)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v; want %v, %v", name, got, err, tt.want, tt.err)
		}
	}
}

func FuzzModuleLine(f *testing.F) {
	f.Add("nvme_core 184320 5 nvme,[permanent], Live 0x0000000000000000 (POE+)")
	f.Add("noun 16384 - - Live 0xc051e000")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		var l moduleList
		e, err := l.parseLine(line)
		if err != nil {
			if e.Name != "" {
				t.Fatalf("both a value and an error: %+v, %v", e, err)
			}
			return
		}
		if e.Name == "" || e.Size < 0 || len(e.UsedBy) > len(line) || len(e.Name) > 4*len(line) {
			t.Fatalf("nonsense from %q: %+v", line, e)
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add(modulesText(5))
	f.Add("a 1 0 - Live 0x0\njunk\ncut")
	f.Fuzz(func(t *testing.T, text string) {
		var l moduleList
		var r fact.Report
		err := l.Parse(text, &r)
		lines := strings.Count(text, "\n")
		if text != "" && !strings.HasSuffix(text, "\n") {
			lines++
		}
		if len(l.Entries)+r.Count(SourceModules) != lines || (err != nil) != (len(l.Entries) == 0 && lines > 0) {
			t.Fatalf("%d entries and %d bad of %d lines, %v", len(l.Entries), r.Count(SourceModules), lines, err)
		}
	})
}

func BenchmarkParseModules(b *testing.B) {
	for _, n := range []int{50, 250, 1000} {
		text := modulesText(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			var l moduleList
			var r fact.Report
			for b.Loop() {
				l.Parse(text, &r)
			}
		})
	}
}
