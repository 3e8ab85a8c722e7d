// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
)

func TestLoaderConf(t *testing.T) {
	var c Conf
	var r fact.Report
	c.ReadLoader("/boot/defaults/loader.conf", `# Loader defaults
module_blacklist="drm drm2 radeonkms"	# Loader module blacklist
module_blacklist="${module_blacklist} nvidia-drm"
module_path="/boot/modules;/boot/dtb"
exec=".( Loading )"
`, &r)
	c.ReadLoader("/boot/loader.conf",
		"zfs_load=\"YES\"\r\n  hint.atkbd.0.disabled=1 # off\nnot an assignment\nkern.hz=100\n"+
			"bad=\"no end\nif_em_load = \"NO\"\nfdc_load=YES junk\n", &r)
	words, s := c.Words("module_blacklist")
	if diff := cmp.Diff([]string{"drm", "drm2", "radeonkms", "nvidia-drm"}, words); diff != "" || s.Line != 3 ||
		s.File != "/boot/defaults/loader.conf" {
		t.Error(diff, s)
	}
	for name, want := range map[string]Setting{
		"zfs_load":              {Name: "zfs_load", Value: "YES", File: "/boot/loader.conf", Line: 1},
		"hint.atkbd.0.disabled": {Name: "hint.atkbd.0.disabled", Value: "1", File: "/boot/loader.conf", Line: 2},
		"kern.hz":               {Name: "kern.hz", Value: "100", File: "/boot/loader.conf", Line: 4},
		"if_em_load":            {Name: "if_em_load", Value: "NO", File: "/boot/loader.conf", Line: 6},
		"bad":                   {Name: "bad", File: "/boot/loader.conf", Line: 5, Code: fact.CodeUnsupported},
		"exec":                  {Name: "exec", Value: ".( Loading )", File: "/boot/defaults/loader.conf", Line: 5},
	} {
		if got, ok := c.Lookup(name); !ok || got != want {
			t.Errorf("%s = %+v, want %+v", name, got, want)
		}
	}
	lines := []int{}
	for _, p := range r.Problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{3, 5, 7}, lines); diff != "" {
		t.Errorf("problems %v: %s", r.Problems, diff)
	}
}

func TestRCConf(t *testing.T) {
	const unknown = "?"
	for name, c := range map[string]struct {
		text string
		want map[string]string // "-" for unset
	}{
		"plain": {"hostname='secret'\nkld_list=\"nvidia-modeset /boot/modules/drm.ko\"\n" +
			"kld_list=\"${kld_list} fusefs\"; kern_securelevel_enable=YES\nexport kern_securelevel=\"1\"\n" +
			"path=\"a\\\"b\"\n",
			map[string]string{"kld_list": "nvidia-modeset /boot/modules/drm.ko fusefs",
				"kern_securelevel_enable": "YES",
				"kern_securelevel":        "1", "hostname": "secret", "path": `a"b`, "none": "-"}},
		"computed": {"a=\"$(cat /etc/x)\"\nb=`date`\nc=\"$unset z\"\nd=1\nd=${d:-2}\ne=\"${e} x\"\n",
			map[string]string{"a": unknown, "b": unknown, "c": unknown, "d": unknown, "e": " x"}},
		"lines": {"kld_list=\"a\n  b\"\nx=1 # it's a comment\ny=a\\\nb\n",
			map[string]string{"kld_list": "a\n  b", "x": "1", "y": "ab"}},
		"condition": {"a=1\nb=1\nif [ -f /x ]; then\n\ta=2\nfi\nc=1\n[ -f /y ] && c=2\n" +
			"case $x in\ny) d=1;;\nesac\nb=3\n",
			map[string]string{"a": unknown, "b": "3", "c": unknown, "d": unknown, "z": "-"}},
		"other file": {"a=1\n. /etc/more.conf\nb=2\n", map[string]string{"a": unknown, "b": unknown, "c": unknown}},
		"function": {"f() {\n\ta=1\n}\nb=1\nf\nc=1\n",
			map[string]string{"a": unknown, "b": unknown, "c": unknown}},
		"unused":         {"f() { a=1; }\nb=1\nlogger hello\n", map[string]string{"a": "-", "b": "1"}},
		"of one command": {"a=1 logger x\nb=1\n", map[string]string{"a": "-", "b": "1"}},
		"presets":        {"a=1\n: ${a:=2}\n: ${b:=\"3\"}\n", map[string]string{"a": "1", "b": "3"}},
		"exit":           {"a=1\nexit 0\nb=1\n", map[string]string{"a": unknown, "b": unknown, "c": unknown}},
		"exec":           {"a=1\nexec true\nb=1\n", map[string]string{"a": unknown, "b": unknown, "c": unknown}},
		"return":         {"a=1\nreturn 0\nb=1\n", map[string]string{"a": "1", "b": "-"}},
		"document":       {"cat <<EOF\na=1\nEOF\nb=1\n", map[string]string{"a": "-", "b": "1"}},
		"redacted":       {"a=\"[redacted]\"\nb=1\n", map[string]string{"a": unknown, "b": "1"}},
		"redacted line":  {"# [redacted]\nb=1\n", map[string]string{"a": unknown, "b": unknown}},
		"open quote":     {"a=\"x\nb=1\n", map[string]string{"a": unknown, "b": unknown}},
	} {
		var conf Conf
		var r fact.Report
		conf.ReadScript("/etc/rc.conf", c.text, &r)
		for variable, want := range c.want {
			got, ok := conf.Lookup(variable)
			switch {
			case want == "-" && ok, want == unknown && (got.Code == "" || got.Value != ""),
				want != "-" && want != unknown && (got.Value != want || got.Code != ""):
				t.Errorf("%s: %s = %+v, want %q", name, variable, got, want)
			}
		}
	}
}

// TestTooMuch has more settings, or a longer line, than are kept: what is not seen is unknown, not unset.
func TestTooMuch(t *testing.T) {
	var many strings.Builder
	for i := range maxSettings + 1 {
		fmt.Fprintf(&many, "a%d=1\n", i)
	}
	for name, text := range map[string]string{"settings": many.String(),
		"line": "a0=1\nb=\"" + strings.Repeat("x", maxConfLine) + "\"\n"} {
		var c Conf
		var r fact.Report
		c.ReadLoader("/boot/loader.conf", text, &r)
		first, _ := c.Lookup("a0")
		none, ok := c.Lookup("none")
		if first.Value != "1" || !ok || none.Code != fact.CodeTooLarge || len(r.Problems) == 0 {
			t.Errorf("%s: %+v, %+v, %v", name, first, none, r.Problems)
		}
		if s, ok := c.Opaque(); !ok || s.Line < 2 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestKnown reads a script that runs files that were read before.
func TestKnown(t *testing.T) {
	const text = "a=1\nif [ -r /etc/defaults/rc.conf ]; then\n\t. /etc/defaults/rc.conf\nfi\nb=2\n"
	for _, known := range []bool{true, false} {
		c := Conf{Source: "rc_conf"}
		if known {
			c.Known = []string{"/etc/defaults/rc.conf"}
		}
		c.ReadScript("/etc/rc.conf", text, new(fact.Report))
		a, _ := c.Lookup("a")
		b, _ := c.Lookup("b")
		_, set := c.Lookup("c")
		if (a.Code == "") != known || (b.Value == "2") != known || set == known {
			t.Errorf("known %t: %+v, %+v, %t", known, a, b, set)
		}
	}
}

// TestAgain runs a file again that was read before: it sets what it set.
func TestAgain(t *testing.T) {
	const defaults = "modules=YES\nx=1\n: ${y:=2}\nz=\"$z a\"\nif [ q ]; then\nw=1\nfi\n"
	for _, c := range []struct{ text, want string }{
		{". /etc/defaults/rc.conf\nmodules=NO\n", "NO 1 2 _a ?"},
		{"modules=NO\n. /etc/defaults/rc.conf\n", "YES 1 2 _a ?"},
		{"y=3\n. \"/etc/defaults/rc.conf\"\n", "YES 1 ? _a ?"},
		{"if [ -r /etc/defaults/rc.conf ]; then\n. /etc/defaults/rc.conf\nfi\nmodules=NO\n", "NO 1 2 _a ?"},
		{"modules=NO\nif [ -r /etc/defaults/rc.conf ]; then\n. /etc/defaults/rc.conf\nfi\n", "YES 1 2 _a ?"},
		{"modules=NO\n[ -f /x ] && . /etc/defaults/rc.conf\n", "? 1 2 _a ?"},
		{"modules=NO\nunset x\n. /etc/defaults/rc.conf\nx=4\n", "YES 4 2 _a ?"},
		{"modules=NO\n. /etc/rc.conf\n", "? ? ? ? ?"},
		{"modules=NO\n. /etc/defaults/other\n", "? ? ? ? ?"},
		{". /etc/defaults/rc.conf\n. /etc/defaults/rc.conf\n", "YES 1 ? ? ?"},
		{"modules=NO\n(. /etc/defaults/rc.conf)\n", "NO 1 2 _a ?"},
	} {
		conf := Conf{Known: []string{"/etc/defaults/rc.conf", "/etc/rc.conf", "/etc/defaults/other"}}
		conf.ReadScript("/etc/defaults/rc.conf", defaults, new(fact.Report))
		conf.ReadScript("/etc/rc.conf", c.text, new(fact.Report))
		var got []string
		for _, name := range []string{"modules", "x", "y", "z", "w"} {
			s, _ := conf.Lookup(name)
			if s.Code != "" {
				s.Value = "?"
			}
			got = append(got, strings.ReplaceAll(s.Value, " ", "_"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// TestParent calls, in a file of one service, a function of the file of all, and sets what that made readonly.
func TestParent(t *testing.T) {
	for text, known := range map[string]bool{"f\n": false, "readonly x\n": true, "x=1\n": false, "g\n": true} {
		all := &Conf{}
		all.ReadScript("/etc/rc.conf", "f() { kld_list=evil; }\nreadonly x=0\nkld_list=\n", new(fact.Report))
		own := &Conf{Parent: all}
		own.ReadScript("/etc/rc.conf.d/kld", text, new(fact.Report))
		if s, _ := own.Lookup("kld_list"); (s.Code == "") != known {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

// TestEnds reads files after one that ends the shell, or may: what they set is not known. After a return it is.
func TestEnds(t *testing.T) {
	for text, ends := range map[string]bool{
		"exit 0\n": true, "exec /sbin/mine\n": true, "exec >/x\n": true, "[ -f /x ] && exit\n": true, "eval $x\n": true,
		"set -e\n": true, "kill $$\n": true, "a=\"\n": true, "# [redacted]\n": true, ". /none\n": true,
		": ${x?}\n": true,
		"return\n":  false, "[ -f /x ] && return\n": false, "a=1\n": false, "(exit)\n": false, "f() { exit; }\n": false,
	} {
		all := &Conf{}
		all.ReadScript("/etc/rc.conf", text, new(fact.Report))
		all.ReadScript("/etc/rc.conf.local", "a=1\n", new(fact.Report))
		own := &Conf{Parent: all}
		own.ReadScript("/etc/rc.conf.d/x", "b=1\n", new(fact.Report))
		a, _ := own.Lookup("a")
		b, _ := own.Lookup("b")
		s, got := own.Ends()
		if got != ends || (a.Code != "") != ends || (b.Code != "") != ends || ends && s.File != "/etc/rc.conf" {
			t.Errorf("%q: %+v %t, %+v, %+v", text, s, got, a, b)
		}
	}
}

// FuzzShell reads scripts of the shell: each command is in the text, at its line or after it, within what may be
// taken.
func FuzzShell(f *testing.F) {
	for _, seed := range []string{
		"if a; then b; elif c; then d; else e; fi\n", "case $x in a|b) c;; *) d;; esac\n", "a && b || c; d & e\n",
		"for i in 1 2; do a $i; done\nwhile a; do b; done\n", "f() { a; }\nfunction g { b; }\nf\n",
		"cat <<EOF\nkldload a\nEOF\nkldload b\n", "a 'b;c' \"d;e\" `f` $(g; h)\n", "a \\\nb # c\n", "if if if\n", "'",
		"((((", "{{{{}}}}", "<<", "case\n)\n", "a\r\nb\r\n", "\x00;\xff\n", "\r\n", "\f\n", "\v\n\u00a0\n",
		"a=$((1<<4)) ${b:=`c`} \"${d:-'}'}\" $'e'\n", "cat <<-'A' <<B\n\tA\nB\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		lines := strings.Count(text, "\n") + 1
		item := fact.NewBudget(0).Item(int64(len(text)))
		total := 0
		err := ReadShell(text, item, func(c Command) {
			if c.Line < 1 || c.Line > lines {
				t.Fatalf("line %d of %d", c.Line, lines)
			}
			if len(c.Words()) == 0 {
				t.Fatalf("a command without words: %q", c.Body)
			}
			for _, word := range c.Words() {
				if c.Body != "eval" && !strings.ContainsAny(word, "'\"`\\$#<>") &&
					!strings.Contains(strings.ReplaceAll(text, "\\\n", ""), word) {
					t.Fatalf("%q is not in the text", word)
				}
			}
			if len(c.Conds) > maxNesting {
				t.Fatalf("%d conditions", len(c.Conds))
			}
			total += len(c.Body)
		})
		if err == nil && total > 2*len(text)+64 {
			t.Fatalf("commands of %d bytes in %d", total, len(text))
		}
		conf := readVariables(text)
		if n := len(conf.Settings) + len(conf.calls) + len(conf.fixed); n > len(text) {
			t.Fatalf("%d settings and names in %d bytes", n, len(text))
		}
	})
}
