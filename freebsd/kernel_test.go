// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
)

// refusing is a machine that refuses one file, directory or call.
type refusing struct {
	fact.Machine
	key string
}

func (m refusing) refuse(op, key string) error {
	if key != m.key {
		return nil
	}
	return &fs.PathError{Op: op, Path: key, Err: fs.ErrPermission}
}

func (m refusing) Open(name string) (fs.File, error) {
	if err := m.refuse("open", name); err != nil {
		return nil, err
	}
	return m.Machine.Open(name)
}

func (m refusing) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.refuse("readdir", name); err != nil {
		return nil, err
	}
	return m.Machine.ReadDir(name)
}

func (m refusing) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if err := m.refuse(op, strings.Join(append([]string{op}, args...), " ")); err != nil {
		return nil, err
	}
	return m.Machine.Call(ctx, op, args...)
}

// queries are names of what is loaded, built in, on disk, unreadable and not there.
var queries = []string{"aesni", "if_em", "linux_common", "drm", "broken", "vtnet", "cam", "kernel", "nothing",
	"pci:vendor=0x8086 device=0x10d3"}

func outcomes(t *testing.T, k *Kernel, query string) (now, next fact.VerdictOutcome) {
	t.Helper()
	var r fact.Report
	verdicts, err := k.Check(t.Context(), query, &r)
	if err != nil || len(verdicts) != 1 {
		t.Fatalf("%s: %d verdicts, %v", query, len(verdicts), err)
	}
	v := verdicts[0]
	for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
		if p == nil {
			continue
		}
		if p.Outcome == fact.VerdictUnknown && len(p.Ways) == 0 && len(v.Problems) == 0 {
			t.Errorf("%s is unknown, and nothing says why: %+v", query, v)
		}
		if (p.Outcome == fact.VerdictUnknown) != (p.Because.Code != "" && p.Because.Text != "") {
			t.Errorf("%s is %s because %+v", query, p.Outcome, p.Because)
		}
		if p.Outcome == fact.VerdictUnknown && !slices.Contains(v.Reasons, p.Because) {
			t.Errorf("%s: %+v is not in %+v", query, p.Because, v.Reasons)
		}
		for _, w := range p.Ways {
			if (w.Blocked == "") != (w.Because.Text != "") {
				t.Errorf("%s: way %+v", query, w)
			}
		}
	}
	if len(v.Reasons) == 0 {
		t.Errorf("%s has no reason", query)
	}
	if v.Now != nil {
		now = v.Now.Outcome
	}
	return now, v.NextBoot.Outcome
}

// TestRefusals refuses each input in turn: no outcome becomes blocked or absent because of it. The kernel's own file is
// the exception: a name that it alone has is absent from an image without it, and what it alone provides is missing.
func TestRefusals(t *testing.T) {
	m := fakeunix.GENERIC()
	keys := []string{
		"kldnext 0", "kldnext 3", "kldstat 1 2", "kldstat 3 2", "kldfirstmod 1", "kldfirstmod 3", "modfnext 1",
		"modstat 301 3", "uname", "sysctl_int " + sysctlSecureLevel, "sysctl_int " + sysctlOSRelDate,
		"sysctl " + sysctlVeriexec, "sysctl " + sysctlPreloaded, "sysctl " + sysctlModulePath,
		"sysctl " + sysctlBootFile, "boot/kernel", "boot/modules", "boot/loader.conf.d", "etc/rc.conf.d",
	}
	for name := range m.Disk {
		if name != "boot/kernel/kernel" {
			keys = append(keys, name)
		}
	}
	for _, image := range []bool{false, true} {
		o := fact.Options{OS: fact.FreeBSD, Image: image}
		whole := Open(m.Machine(), o)
		for _, query := range queries {
			now, next := outcomes(t, whole, query)
			for _, key := range keys {
				now2, next2 := outcomes(t, Open(refusing{m.Machine(), key}, o), query)
				for _, c := range [][2]fact.VerdictOutcome{{now, now2}, {next, next2}} {
					if c[0] != c[1] && (c[1] == fact.VerdictBlocked || c[1] == fact.VerdictAbsent) {
						t.Errorf("image %v: %s is %s without %s, and %s with it", image, query, c[1], key, c[0])
					}
				}
			}
		}
	}
}

// TestUnsureWays names what made a way unknown.
func TestUnsureWays(t *testing.T) {
	for name, c := range map[string]struct {
		rc   string
		deny string
		veri string
		want string // in the reason of a way
	}{
		"veriexec": {rc: "devmatch_enable=YES\n", veri: "active enforce", want: "veriexec enforces"},
		"no securelevel": {rc: "devmatch_enable=YES\n", deny: "sysctl_int " + sysctlSecureLevel,
			want: sysctlSecureLevel},
		"no veriexec":    {rc: "devmatch_enable=YES\n", deny: "sysctl " + sysctlVeriexec, want: "veriexec"},
		"nobody sets it": {rc: "x=y\n", want: "devmatch_enable"},
		"computed":       {rc: "devmatch_enable=`x`\n", want: "computed"},
		"not read":       {rc: "devmatch_enable=YES\n", deny: "etc/rc.conf", want: "etc/rc.conf"},
	} {
		m := fakeunix.GENERIC()
		m.Disk["etc/rc.conf"] = &fstest.MapFile{Data: []byte(c.rc)}
		if c.veri != "" {
			m.Text[sysctlVeriexec] = c.veri
		}
		k := Open(refusing{m.Machine(), c.deny}, fact.Options{OS: fact.FreeBSD})
		verdicts, err := k.Check(t.Context(), "if_em", new(fact.Report))
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %+v, %v", name, verdicts, err)
		}
		if w := verdicts[0].Now.Ways[0]; w.Way != WayDevmatch || w.Blocked != "" || !strings.Contains(w.Because.Text,
			c.want) {
			t.Errorf("%s: %+v, want %q", name, w, c.want)
		}
	}
}

// TestLeadingReason asks for the fact that decides.
func TestLeadingReason(t *testing.T) {
	const raise = "kern_securelevel_enable=YES\nkern_securelevel=1\n"
	for name, c := range map[string]struct {
		query string
		rc    string
		level int64
		veri  string
		deny  string
		want  string // the code
		text  string // in the text or the file
	}{
		"loaded":   {query: "aesni", want: ReasonLoaded},
		"built in": {query: "kernel", want: ReasonInKernel},
		"on disk":  {query: "gve", want: ReasonInstalled},
		"devmatch": {query: "if_em", rc: "devmatch_enable=YES\n", want: ReasonDevmatch, text: "devmatch_enable is set"},
		"rc.conf": {query: "gve", level: 1, rc: "kld_list=gve\n", want: ReasonKldList,
			text: "etc/rc.conf"},
		"level":           {query: "gve", level: 1, want: ReasonInstalled}, // the next boot is worse
		"level of a boot": {query: "gve", level: 1, rc: raise, want: ReasonLevel},
		"next boot":       {query: "gve", rc: raise, want: ReasonInstalled},
		"veriexec": {query: "gve", veri: "active enforce", rc: raise,
			want: ReasonVeriexec},
		"no list":  {query: "nothing", deny: "kldnext 0", want: ReasonUnread, text: "the kernel's list"},
		"no disk":  {query: "nothing", deny: "boot/kernel", want: ReasonUnread, text: "not every file"},
		"no files": {query: "nothing", want: ReasonNoFile},
	} {
		m := fakeunix.GENERIC()
		m.Disk["boot/modules/gve.ko"] = m.Disk["boot/modules/drm.ko"]
		m.Disk["etc/rc.conf"] = &fstest.MapFile{Data: []byte(c.rc)}
		m.Numbers[sysctlSecureLevel] = c.level
		if c.veri != "" {
			m.Text[sysctlVeriexec] = c.veri
		}
		k := Open(refusing{m.Machine(), c.deny}, fact.Options{OS: fact.FreeBSD})
		verdicts, err := k.Check(t.Context(), c.query, new(fact.Report))
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %+v, %v", name, verdicts, err)
		}
		v := verdicts[0]
		if r := v.Reasons[0]; r.Code != c.want || !strings.Contains(r.Text+r.File, c.text) {
			t.Errorf("%s: now %s, next boot %s because %+v, want %s %q", name, v.Now.Outcome, v.NextBoot.Outcome,
				v.Reasons, c.want, c.text)
		}
	}
}

// TestResolveKernel asks for a kernel whose file could not be read.
func TestResolveKernel(t *testing.T) {
	m := fakeunix.GENERIC()
	k := Open(refusing{m.Machine(), "boot/kernel/kernel"}, fact.Options{OS: fact.FreeBSD})
	if records, err := k.Resolve(t.Context(), "kernel", new(fact.Report)); err != nil || len(records) != 0 {
		t.Errorf("%+v, %v", records, err)
	}
}

// TestReports asks whether what a step could not read reaches the caller's report.
func TestReports(t *testing.T) {
	m := fakeunix.GENERIC()
	m.Disk["etc/rc.conf"] = &fstest.MapFile{Data: []byte(". /etc/more.conf\n")}
	for key, want := range map[string]string{
		"boot/modules": SourceModulePath, "sysctl " + sysctlPreloaded: SourcePreloaded, "uname": SourceMachine,
		"etc/rc.conf": SourceRCConf, "none": SourceRCConf, "kldnext 0": SourceKldstat,
		"boot/kernel/if_em.ko": SourceModulePath,
	} {
		var r fact.Report
		_, err := Open(refusing{m.Machine(), key}, fact.Options{}).Check(t.Context(), "if_em", &r)
		if err != nil || r.Count(want) == 0 {
			t.Errorf("%s: %v, %v", key, r.Problems, err)
		}
	}
}
