// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// A disk is a machine that is files alone; refused is a path that cannot be read.
type disk struct {
	fstest.MapFS
	refused string
}

func (disk) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (d disk) Open(name string) (fs.File, error) {
	if name == d.refused {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.Open(name)
}

func (d disk) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == d.refused {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.ReadDir(name)
}

func netbsdRoot() fstest.MapFS {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	return fstest.MapFS{
		"netbsd": file(kotest.KMODOf("solaris", "")),
		// what matters of a kernel is the set of its modules
		"stand/amd64/10.0/modules/zfs/zfs.kmod":     file(kotest.KMODOf("zfs", "solaris,xcall")),
		"stand/amd64/10.0/modules/xcall/xcall.kmod": file(kotest.KMODOf("xcall", "")),
		"stand/amd64/10.0/modules/lost/lost.kmod":   file(kotest.KMODOf("lost", "nowhere")),
		"stand/amd64/10.0/modules/other/other.kmod": file(kotest.KMODOf("named", "")), // not as its file
		"usr/pkg/lib/modules/evil.kmod":             file(kotest.KMODOf("evil", "old")),
		"stand/amd64/9.3/modules/old/old.kmod":      file(kotest.KMODOf("old", "")),
		"etc/modules.conf":                          file([]byte("# at boot\n\nzfs -f\n")),
		"etc/rc.conf":                               file([]byte("rc_configured=YES\n")),
	}
}

func TestImage(t *testing.T) {
	for release, want := range map[string]string{
		"":             "lost /10.0 named /10.0 xcall /10.0 zfs /10.0 old /9.3",
		fact.KernelAll: "lost /10.0 named /10.0 xcall /10.0 zfs /10.0 old /9.3", "9.3": "old /9.3", "8.0": "",
	} {
		k := Open(disk{MapFS: netbsdRoot()}, fact.Options{OS: fact.NetBSD, Image: true, Kernel: release})
		var got []string
		for m, err := range k.Installed(t.Context(), new(fact.Report)) {
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) || want != "" {
					t.Error(err)
				}
				break
			}
			got = append(got, m.Name, strings.TrimPrefix(strings.Split(m.Path, "/modules/")[0], "/stand/amd64"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", release, got)
		}
	}
	stock := "if [ -r /etc/defaults/rc.conf ]; then\n\t. /etc/defaults/rc.conf\nfi\n"
	for _, c := range []struct {
		query, rc, refused string
		outcome            fact.VerdictOutcome
		ways, trigger      string
	}{
		{"zfs", "", "", fact.VerdictLoadable, "modules modload", "/etc/modules.conf:3"},
		{"xcall", "", "", fact.VerdictLoadable, "modules modload", "/etc/modules.conf:3"}, // what zfs requires
		{"zfs", "modules=maybe\n", "", fact.VerdictLoadable, "modload", "/etc/modules.conf:3"},
		{"zfs", "modules=${x}\nsecurelevel=1\n", "", fact.VerdictUnknown, "", "/etc/modules.conf:3"},
		{"zfs", ". /etc/more\n", "", fact.VerdictUnknown, "", "/etc/modules.conf:3"},
		// Until rc.d/sysctl runs, the kernel loads modules by itself.
		{"zfs", "a=x; modules=NO\nsecurelevel=1\n#sysctl kern.module.autoload=0\n", "", fact.VerdictUnknown, "",
			"/etc/modules.conf:3"},
		{"old", "#sysctl kern.securelevel?=1\n#sysctl kern.module.autoload=0\n", "", fact.VerdictUnknown, "", ""},
		{"old", "#sysctl kern.module.autoload=1\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""},
		{"old", "securelevel=0\n", "etc/sysctl.conf", fact.VerdictUnknown, "", ""},
		{"zfs", "modules=NO # none\n", "", fact.VerdictLoadable, "modload", "/etc/modules.conf:3"},
		{"old", "", "", fact.VerdictLoadable, "modload", ""},
		{"lost", "", "", fact.VerdictBlocked, "", ""},
		{"lost", "", "netbsd", fact.VerdictUnknown, "", ""},
		{"solaris", "", "", fact.VerdictBuiltin, "", ""},
		{"none", "", "", fact.VerdictAbsent, "", ""},
		{"none", "", "netbsd", fact.VerdictUnknown, "", ""},
		{"none", "", "stand", fact.VerdictUnknown, "", ""},
		{"none", "", "stand/amd64", fact.VerdictUnknown, "", ""},
		{"zfs", "", "etc/modules.conf", fact.VerdictLoadable, "modload", ""},
		{"none", "", "stand/amd64/10.0/modules/zfs/zfs.kmod", fact.VerdictUnknown, "", ""},
		// rc.d/modules and the kernel itself come before rc.d/securelevel.
		{"zfs", stock + "securelevel=1\n", "", fact.VerdictLoadable, "modules", "/etc/modules.conf:3"},
		{"old", stock + "securelevel=1\n", "", fact.VerdictUnknown, "", ""},
		{"old", "securelevel=0\n", "", fact.VerdictLoadable, "modload", ""},
		{"old", "securelevel=$x\n", "", fact.VerdictUnknown, "", ""},
		{"old", "if [ -f /x ]; then\nsecurelevel=1\nfi\n", "", fact.VerdictUnknown, "", ""},
		{"old", "if [ -f /x ]; then a=1; fi\n#sysctl kern.module.autoload=0\nsecurelevel=\"1\" # x\n", "",
			fact.VerdictUnknown, "", ""},
		{"old", ". /etc/more\n", "", fact.VerdictUnknown, "", ""},
		{"old", "#sysctl kern.securelevel=1\n#sysctl kern.module.autoload=0\n", "", fact.VerdictUnknown, "", ""},
		{"zfs", "if x; then\nmodules=NO\nfi\nsecurelevel=1\n", "", fact.VerdictUnknown, "", "/etc/modules.conf:3"},
		// boot.cfg(5).
		{"xcall", "#cfg banner=x\n#cfg load=/stand/amd64/10.0/modules/zfs/zfs.kmod -a\nsecurelevel=1\n", "",
			fact.VerdictLoadable, "loader modules", "/boot.cfg:2"},
		{"old", "#cfg menu=a:load old;boot netbsd\n#cfg menu=b:boot\nsecurelevel=1\n", "", fact.VerdictLoadable,
			"loader", "/boot.cfg:1"},
		{"old", "#cfg menu=a:load old;boot netbsd\n#cfg menu=b:boot\n#cfg default=2\nsecurelevel=1\n", "",
			fact.VerdictUnknown, "", "/boot.cfg:1"},
		{"old", "#cfg load=old\n#cfg modules=off\nsecurelevel=1\n#sysctl kern.module.autoload=0\n", "",
			fact.VerdictUnknown, "", "/boot.cfg:1"},
		{"old", "#cfg #load=old\nsecurelevel=1\n#sysctl kern.module.autoload=0\n", "", fact.VerdictUnknown, "", ""},
		{"solaris", "#cfg menu=a:boot netbsd.old\n", "", fact.VerdictUnknown, "", ""}, // no such file
		{"none", "#cfg menu=a:boot hd1a:netbsd\n", "", fact.VerdictUnknown, "", ""},
		{"solaris", "#cfg menu=a:boot\n#cfg menu=b:boot hd1a:netbsd\n", "", fact.VerdictBuiltin, "", ""},
		{"old", "securelevel=1\n#sysctl kern.module.autoload=0\n", "boot.cfg", fact.VerdictUnknown, "", ""},
		// A module that was not read may be what another one requires, and any module may be in the kernel.
		{"zfs", "", "stand/amd64/10.0/modules/xcall/xcall.kmod", fact.VerdictUnknown, "", "/etc/modules.conf:3"},
		{"lost", "", "stand/amd64/9.3/modules", fact.VerdictUnknown, "", ""},
		{"lost", "", "stand/amd64/9.3/modules/old/old.kmod", fact.VerdictUnknown, "", ""},
		{"old", "securelevel=1\n#sysctl kern.module.autoload=0\n", "netbsd", fact.VerdictUnknown, "", ""},
		{"old", "#cfg menu=a:boot netbsd.old\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""},
		// A module that is loaded by its path.
		{"evil", "", "", fact.VerdictAbsent, "", ""},
		{"evil", "#modules /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictLoadable, "modules modload",
			"/etc/modules.conf:1"},
		{"old", "#modules usr/pkg/lib/modules/evil.kmod -f\nsecurelevel=1\n", "", fact.VerdictLoadable, "modules",
			"/etc/modules.conf:1"},
		{"/usr/pkg/lib/modules/evil.kmod", "#cfg load=/usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "",
			fact.VerdictLoadable, "loader", "/boot.cfg:1"},
		{"evil", "#cfg load=usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "", fact.VerdictLoadable, "loader",
			"/boot.cfg:1"},
		{"evil", "modules=NO\nsecurelevel=1\n#modules /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictBlocked, "",
			"/etc/modules.conf:1"}, // the kernel itself takes no path
		{"evil", "modules=NO\nsecurelevel=1\n#modules /usr/pkg/lib/modules/evil.kmod\n", "netbsd",
			fact.VerdictUnknown, "", "/etc/modules.conf:1"},
		{"evil", "#modules /usr/pkg/lib/modules/evil.kmod\n", "usr/pkg/lib/modules/evil.kmod", fact.VerdictUnknown, "",
			""},
		{"evil", "#modules evil\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#modules /usr/pkg/lib/modules/evil\n", "", fact.VerdictAbsent, "", ""}, // no such file
		{"evil", "", "etc/modules.conf", fact.VerdictUnknown, "", ""},
		{"evil", "", "boot.cfg", fact.VerdictUnknown, "", ""},
		{"evil", "#cfg load=hd1a:/evil.kmod\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs $(modload /evil)\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs -s x=a#$(modload${IFS}/evil)\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs \"#\";modload /evil\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs 'a # b';modload /evil\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules \f# $(modload /evil)\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs \\\n#modules $(modload${IFS}/evil)\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules /usr/pkg/lib/modules/ev\\il.kmod\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#modules zfs -f # $(modload /evil)\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#modules zfs -s x=a#b\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#modules # \\ zfs $(x)\n", "", fact.VerdictAbsent, "", ""},
		{"zfs", "#modules zfs -f\r\nsecurelevel=1\n", "", fact.VerdictLoadable, "modules", "/etc/modules.conf:1"},
		// Scripts that rc(8) runs before the securelevel.
		{"old", "modload old\nsecurelevel=1\n", "", fact.VerdictUnknown, "", "/etc/rc.conf:1"},
		{"evil", "[ -f /x ] && modload /usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "", fact.VerdictUnknown, "",
			"/etc/rc.conf:1"},
		{"evil", "#script x\n#script /sbin/modload -f \"/usr/pkg/lib/modules/evil.kmod\" 2>/dev/null\nsecurelevel=1\n",
			"", fact.VerdictUnknown, "", "/etc/rc.d/mine:2"},
		{"evil", "#script # modload /usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#script modload $x\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#script modload zfs\nsecurelevel=1\n", "", fact.VerdictAbsent, "", ""},
		{"xcall", "#script modload zfs\nsecurelevel=1\n", "", fact.VerdictLoadable, "modules", "/etc/modules.conf:3"},
		{"evil", "#script modload /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictLoadable, "modload",
			"/etc/rc.d/mine:1"},
		{"evil", "", "etc/rc.d/mine", fact.VerdictAbsent, "", ""}, // no such file
		{"evil", "#script x\n", "etc/rc.d/mine", fact.VerdictUnknown, "", ""},
		{"evil", "#script x\n", "etc/rc.d", fact.VerdictUnknown, "", ""},
		{"evil", "rc_directories=\"/etc/rc.d /opt\"\n#script x\n", "opt", fact.VerdictUnknown, "", ""},
		{"evil", "rc_directories=$(x)\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#script ${MODLOAD:-/sbin/modload} /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#script : ${MODLOAD:=/sbin/modload}\n#script $MODLOAD /usr/pkg/lib/modules/evil.kmod\n", "",
			fact.VerdictUnknown, "", ""},
		// What rc.d/local and rc.d/network run, and what is not read.
		{"evil", "#file etc/rc.local modload /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictLoadable, "modload",
			"/etc/rc.local:1"},
		{"evil", "#file etc/rc.local modload /usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "", fact.VerdictUnknown,
			"", "/etc/rc.local:1"},
		{"evil", "#file etc/netstart.local modload /usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "",
			fact.VerdictUnknown, "", "/etc/netstart.local:1"},
		{"evil", "#file etc/ifconfig.wm0 !modload /usr/pkg/lib/modules/evil.kmod\nsecurelevel=1\n", "",
			fact.VerdictUnknown, "", "/etc/ifconfig.wm0:1"},
		{"evil", "#file etc/ifconfig.wm0 !modload $x\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#file etc/rc.local echo modloads\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#file etc/motd modload /usr/pkg/lib/modules/evil.kmod\n", "", fact.VerdictAbsent, "", ""},
		{"evil", "#file etc/rc.local x\n", "etc/rc.local", fact.VerdictUnknown, "", ""},
		{"evil", "#file etc/netstart.local x\n", "etc/netstart.local", fact.VerdictUnknown, "", ""},
		{"evil", "#file etc/ifconfig.wm0 x\n", "etc/ifconfig.wm0", fact.VerdictUnknown, "", ""},
		{"evil", "", "etc", fact.VerdictUnknown, "", ""},
		{"evil", ". /opt/mine\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "eval $x\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#file etc/rc.conf.d/sshd . /opt/mine\n", "", fact.VerdictUnknown, "", ""},
		{"evil", "#file etc/rc.conf.d/sshd sshd=YES\n", "", fact.VerdictAbsent, "", ""},
		// A module is called as it calls itself; lines name its file.
		{"named", "#modules other\nsecurelevel=1\n", "", fact.VerdictLoadable, "modules", "/etc/modules.conf:1"},
		{"named", "#modules named\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""},
		{"zfs", "#modules zfs.kmod\nsecurelevel=1\n", "", fact.VerdictUnknown, "", ""}, // of no such directory
	} {
		root := netbsdRoot()
		rc, cfg, sysctl, conf, script := "", "", "", "", ""
		for line := range strings.Lines(c.rc) {
			if text, ok := strings.CutPrefix(line, "#cfg "); ok {
				cfg += text
			} else if text, ok := strings.CutPrefix(line, "#sysctl "); ok {
				sysctl += text
			} else if text, ok := strings.CutPrefix(line, "#modules "); ok {
				conf += text
			} else if text, ok := strings.CutPrefix(line, "#script "); ok {
				script += text
			} else if text, ok := strings.CutPrefix(line, "#file "); ok {
				name, text, _ := strings.Cut(text, " ")
				root[name] = &fstest.MapFile{Data: []byte(text)}
			} else {
				rc += line
			}
		}
		root["etc/rc.conf"].Data = []byte(rc)
		for name, text := range map[string]string{"boot.cfg": cfg, "etc/sysctl.conf": sysctl,
			"etc/modules.conf": conf, "etc/rc.d/mine": script} {
			if text != "" {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		k := Open(disk{root, c.refused}, fact.Options{OS: fact.NetBSD, Image: true})
		v, err := k.Check(t.Context(), c.query, new(fact.Report))
		if err != nil || len(v) != 1 || v[0].Now != nil {
			t.Fatalf("%+v: %+v %v", c, v, err)
		}
		var open []string
		for _, w := range v[0].NextBoot.Ways {
			if w.Blocked == fact.No {
				open = append(open, w.Way)
			}
		}
		trigger := ""
		if len(v[0].Triggers) > 0 {
			trigger = fmt.Sprint(v[0].Triggers[0].File, ":", v[0].Triggers[0].Line)
		}
		if v[0].NextBoot.Outcome != c.outcome || strings.Join(open, " ") != c.ways || trigger != c.trigger {
			t.Errorf("%+v: %s by %v because of %s", c, v[0].NextBoot.Outcome, open, trigger)
		}
	}
}

// TestKernelNotWhole reads a kernel of which one record is invalid: whatever is required may be that one.
func TestKernelNotWhole(t *testing.T) {
	root := netbsdRoot()
	b := kotest.KMODOf("", "")
	root["netbsd"].Data = b
	var r fact.Report
	k := Open(disk{MapFS: root}, fact.Options{OS: fact.NetBSD, Image: true})
	for _, query := range []string{"lost", "zfs", "none"} {
		v, err := k.Check(t.Context(), query, &r)
		if err != nil || v[0].Worst() != fact.VerdictUnknown {
			t.Errorf("%s: %+v %v", query, v, err)
		}
	}
	if p, ok := r.First(SourceModctl); !ok || p.Code != fact.CodeMalformed {
		t.Errorf("%+v", r.Problems)
	}
}

// TestManyAside names more files than are read.
func TestManyAside(t *testing.T) {
	root := netbsdRoot()
	var conf strings.Builder
	for i := range maxAside + 1 {
		fmt.Fprintf(&conf, "/m%d.kmod\n", i)
	}
	root["etc/modules.conf"].Data = []byte(conf.String())
	k := Open(disk{MapFS: root}, fact.Options{OS: fact.NetBSD, Image: true})
	v, err := k.Check(t.Context(), "none", new(fact.Report))
	if err != nil || v[0].Worst() != fact.VerdictUnknown || v[0].Problems[0].Code != fact.CodeTooLarge {
		t.Errorf("%+v %v", v, err)
	}
}

// TestImagePolicy reads what the files of an image say.
func TestImagePolicy(t *testing.T) {
	for _, c := range []struct {
		files   map[string]string
		loading fact.Loading
		facts   string
	}{
		{nil, fact.LoadingAny, "securelevel= module_autoload="},
		{map[string]string{"etc/rc.conf": "securelevel=1\n"}, fact.LoadingNone,
			"securelevel=1@/etc/rc.conf:1 module_autoload="},
		{map[string]string{"etc/rc.conf.d/securelevel": "\nsecurelevel=2\n"}, fact.LoadingNone,
			"securelevel=2@/etc/rc.conf.d/securelevel:2 module_autoload="},
		{map[string]string{"etc/rc.conf": "securelevel=`x`\n"}, "", "securelevel=@/etc/rc.conf:1 module_autoload="},
		{map[string]string{"etc/sysctl.conf": "# x\nkern.module.autoload=0\n",
			"boot.cfg": "load=ramdisk\nuserconf=disable ums*\nmenu=a:load b;boot\n"}, fact.LoadingAny,
			"securelevel= module_autoload=0@/etc/sysctl.conf:2 load=ramdisk@/boot.cfg:1 load=b@/boot.cfg:3 " +
				"userconf=disable ums*@/boot.cfg:2"},
	} {
		root := fstest.MapFS{"netbsd": {}, "etc/rc": {}}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		k := Open(disk{MapFS: root}, fact.Options{OS: fact.NetBSD, Image: true})
		p, err := k.Policy(t.Context(), new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range p.Facts {
			text := f.Name + "=" + f.Value
			if f.File != "" {
				text += fmt.Sprint("@", f.File, ":", f.Line)
			}
			got = append(got, text)
		}
		if p.Loading != c.loading || strings.Join(got, " ") != c.facts {
			t.Errorf("%v: %q %q", c.files, p.Loading, got)
		}
	}
}

// FuzzBootFiles reads what an image's boot reads: no line gives more than itself, nothing unknown is without a reason.
func FuzzBootFiles(f *testing.F) {
	f.Add("menu=a:load b;boot hd0a:netbsd\ndefault=1\nload=/x y\nuserconf=disable a\n", "zfs -f\n", "modules=\"no\"\n")
	f.Fuzz(func(t *testing.T, cfg, conf, rc string) {
		root := netbsdRoot()
		for name, text := range map[string]string{"boot.cfg": cfg, "etc/modules.conf": conf, "etc/rc.conf": rc,
			"etc/sysctl.conf": rc} {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		k := Open(disk{MapFS: root}, fact.Options{OS: fact.NetBSD, Image: true})
		l, _ := k.readLoader(new(fact.Report))
		if len(l.loads)+len(l.userconf) > len(cfg) {
			t.Fatal("more than the input")
		}
		v, err := k.Check(t.Context(), "xcall", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range v[0].NextBoot.Ways {
			if w.Blocked == "" && w.Because == (fact.Reason{}) {
				t.Fatalf("unknown without a reason: %+v", w)
			}
		}
		if _, err := k.Policy(t.Context(), new(fact.Report)); err != nil {
			t.Fatal(err)
		}
	})
}
