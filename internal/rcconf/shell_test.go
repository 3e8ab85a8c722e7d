// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// variables are those that the scripts of the tests set.
var variables = []string{"kld_list", "a", "b", "c", "x", "y", "banner"}

// shellScripts are scripts that set variables in the ways of the shell, with the variables that the reader must know.
// What is not named may be unknown; it must not be wrong.
var shellScripts = []struct{ text, known string }{
	// Plain assignments.
	{"kld_list=evil\n", "kld_list a"},
	{"kld_list=\"vmm evil\"; a='x y' b=\n", "kld_list a b"},
	{"a=1\na=2\nkld_list=\"$a ${a}\"\n", "a kld_list"},
	{"kld_list=\"${kld_list} evil\"\n", "kld_list"},
	{"a=\"x\\\"y\\\\z\\q\\$\"\nb='\\n'\nc=\\a\\'\n", "a b c"},
	{"a=\"one\n  two\"\nb=o\\\nne\nc='x\\\ny'\n", "a b c"},
	{"a=x'y'\"z\"w\n", "a"},
	{"a=1 # kld_list=evil\nb=x#y\n#c=1\n", "a b c kld_list"},
	{"a=~\nb=x:~\nc=~root/x\nx=\"~\"\n", "x"},
	{"a=*\nb='*'\n", "a b"},
	{"a=1\r\nb=2\r\n", ""},
	{"a=1 b=$a\n", "a"},
	{"PATH=$PATH:/x\na=$PATH\nb=$$\nc=$?\nx=$1y\n", ""},
	{"a=$LINENO\nLINENO=$LINENO\n", ""},
	{"export a=1 b\nreadonly c=2\nexport\n", "a b c"},
	{"a=1\nunset a\nb=2\n", "a b"},
	{"a=1; unset -v a; x=${a-3}\n", "a"},
	{"a='x'\\''y'\nb=\"a;b|c&d\"\n", "a b"},
	{"a=1;b=2;c=3", "a b c"},
	{"a=1 >/dev/null\nb=2 >/none/x\n", ""},
	{"1a=1\na-b=2\n=3\n", "a b"},
	// Here-documents and what only looks like one.
	{"banner=\"<< Welcome >>\"\nkld_list=\"evil\"\n", "banner kld_list"},
	{"banner='<<EOF'\nkld_list=evil\n", "banner kld_list"},
	{"x=$((1<<4))\nkld_list=evil\n", "kld_list"},
	{"# see <<EOF\nkld_list=evil\n", "kld_list"},
	{"a=x\\<\\<EOF\nkld_list=evil\n", "a kld_list"},
	{": <<EOF\na=1\nEOF\nkld_list=evil\n", "a"},
	{"cat <<EOF >/dev/null\na=1\n EOF\nb=1\nEOF\nkld_list=evil\n", "a b kld_list"},
	{"cat <<-EOF >/dev/null\na=1\n\t\tEOF\nkld_list=evil\n", "a kld_list"},
	{"cat <<-EOF >/dev/null\na=1\n  EOF\nb=2\nEOF\nkld_list=evil\n", "a b kld_list"},
	{"cat <<'E F' >/dev/null\na=1\nE F\nkld_list=evil\n", "a kld_list"},
	{"cat <<\\EOF >/dev/null\n$(a=1\nEOF\nkld_list=evil\n", "a kld_list"},
	{"cat <<A <<B >/dev/null\na=1\nB\nA\nb=1\nA\nB\nkld_list=evil\n", "a b kld_list"},
	{"cat <<EOF >/dev/null\nx\\\nEOF\na=1\nEOF\nkld_list=evil\n", "a kld_list"},
	{"cat <<EOF >/dev/null\n\\\nEOF\na=1\nEOF\nkld_list=evil\n", ""},
	{"cat <<EOF >/dev/null\nEO\\\nF\na=1\nEOF\nkld_list=evil\n", ""},
	{"cat <<EOF >/dev/null\n${kld_list:=evil}\nEOF\n", ""},
	{"cat <<EOF >/dev/null\n${none?no}\nEOF\na=1\n", ""},
	{"cat <<EOF >/dev/null\n$(echo\nEOF\n)\na=1\nEOF\nkld_list=evil\n", ""},
	{"cat <<EOF >/dev/null; a=\"\n\"\nb=1\nEOF\nkld_list=evil\n", ""},
	{"cat <<EOF\nkld_list=evil\n", ""},
	{"a=1\ncat <<EOF && kld_list=evil >/dev/null\nEOF\n", ""},
	{"if true; then cat <<EOF; fi >/dev/null\na=1\nEOF\nkld_list=evil\n", ""},
	// Expansions that set.
	{": ${kld_list:=\"vmm evil\"}\n: ${a:=b}\n: \"${b:=x y}\"\n", "kld_list a b"},
	{": ${kld_list=evil} ${a:=$kld_list}\n", "kld_list a"},
	{"a=\nunset b\n: ${a=1}\n: ${b=2}\n: ${a:=3}\n", ""},
	{"a=1\n: ${a:=2}\n: ${a=3}\n", "a"},
	{"echo ${kld_list:=evil} >/dev/null\n", ""},
	{"a=${kld_list:=evil}\n", ""},
	{"[ -n \"${kld_list:=evil}\" ]\n", ""},
	{"true x\"${a:-${kld_list:=evil}}\"\n", ""},
	{": >/dev/${kld_list:=null}\n", ""},
	{">/dev/${kld_list:=null}\n", ""},
	{"a=1 >/dev/${kld_list:=null}\n", ""},
	{": $((kld_list = 5))\n", ""},
	{"a='${kld_list:=evil}'\nb=1\n", "a b kld_list"},
	{"case ${kld_list:=evil} in x) ;; esac\n", ""},
	{"case x in ${kld_list:=evil}) ;; esac\n", ""},
	{"for i in ${kld_list:=evil}; do :; done\n", ""},
	{": ${kld_list:='evil'}\n: \"${a:='evil'}\"\n: ${b:=a\\ b}\n", "kld_list"},
	{": ${kld_list:=evil\\}}\n", ""},
	{": ${none?message}\na=1\n", ""},
	{": ${none:?message}\nkld_list=evil\n", ""},
	{": ${none!}\nkld_list=evil\n", ""},
	{"a=1\na=$((1/0))\nkld_list=evil\n", ""},
	{": x${kld_list:=evil}y\n", ""},
	{"$: ${kld_list:=evil}\n", ""},
	{"kld_list=`echo evil`\na=$(echo x; echo ')' ; b=1)\n", "b"},
	{"a=$(echo \"x)\" # )\n)\nkld_list=evil\n", "kld_list"},
	{"a=$(case x in x) echo y;; esac)\nkld_list=evil\n", ""},
	{"a=`echo ' \\` '`\nkld_list=evil\n", "kld_list"},
	{"a=\"${b:-'}'}\"\nkld_list=evil\n", ""},
	{"a=\"${b:-\"x y\"}\"\nkld_list=evil\n", "kld_list"},
	{"x=$'don\\'t'\nkld_list=evil\n", ""},
	{"x=$'dont'\nkld_list=evil\n", "kld_list"},
	{"x=$'\\n'\nIFS=$'\\n\\t'\nkld_list=evil\n", "kld_list"},
	{"x=$'\\\\'\nkld_list=evil\n", ""},
	{"x=$'\\c'\nkld_list=evil\n'\n", ""},
	// Commands that set.
	{"setvar kld_list evil\n", ""},
	{"a=1\nread kld_list <<EOF\nevil\nEOF\n", ""},
	{"getopts x kld_list -x\n", ""},
	{"set -- -a\ngetopts a kld_list\n", ""},
	{"for kld_list in evil; do :; done\n", ""},
	{"for kld_list do :; done\na=1\n", "a"},
	{"set -- evil\nfor kld_list\ndo :\ndone\na=1\n", "a"},
	{"eval kld_list=evil\n", ""},
	{"command eval kld_list=evil\n", ""},
	{"builtin eval kld_list=evil\n", ""},
	{"command -p eval kld_list=evil\n", ""},
	{"command -v eval >/dev/null\na=1\n", "a"},
	{"A=1 eval kld_list=evil\n", ""},
	{"'eval' kld_list=evil\n", ""},
	{"\\eval kld_list=evil\n", ""},
	{"a=eval\n$a kld_list=evil\n", ""},
	{"alias z='kld_list=evil'\nz\n", ""},
	{"trap 'kld_list=evil' 0\nexit\n", ""},
	{"b=1 :\na=1 export c=2\n", ""},
	{"b=1 true\na=1 echo >/dev/null\n", "a b"},
	{"export kld_list=\"vmm evil\" a=$b\n", ""},
	{"b='1 kld_list=evil'\nexport a=$b\n", ""},
	{"export a-b=1\nkld_list=evil\n", ""},
	{"readonly a=1\na=2\nkld_list=evil\n", ""},
	{"readonly a\n[ x ] && a=2\nkld_list=evil\n", ""},
	{". /none/file\nkld_list=evil\n", ""},
	{"A=1 . /none/file\nkld_list=evil\n", ""},
	{"command . /none/file\nkld_list=evil\n", ""},
	{"a=1\nset -e\nfalse\nkld_list=evil\n", ""},
	{"set -u\n: $none\nkld_list=evil\n", ""},
	{"set -n\nkld_list=evil\n", ""},
	{"shift 5\nkld_list=evil\n", ""},
	{"exec true\nkld_list=evil\n", ""},
	{"exec >/none/x\nkld_list=evil\n", ""},
	{": >/none/x\nkld_list=evil\n", ""},
	{"a=1\nexit\nkld_list=evil\n", ""},
	{"a=1\nreturn\nkld_list=evil\n\"", ""},
	{"{\na=1\nreturn\nkld_list=evil\n\"\n}\n", ""},
	{"{\na=1\nexit\nkld_list=evil\n} &\n", ""},
	{"a=1\nexit && true &\nkld_list=evil\n", ""},
	{"exit; a=1 \"\nkld_list=evil\n", ""},
	{"a=1\ntrue >&dev/null\nkld_list=evil\n", ""},
	{"a=1\ntrue 2>&11\nkld_list=evil\n", ""},
	{"a=1\ntrue 2>& 3>&-\nkld_list=evil\n", ""},
	{"a=1\ntrue >2>&1\nkld_list=evil\n", ""},
	{"(\ncat <<E\n$(fi)\nE\n)\nkld_list=evil\n", ""},
	{": ${kld_list:=evil\\\\}}\n", ""},
	{"a=1\ntrue 2>&1 3>&- <&0\nkld_list=evil\n", "a kld_list"},
	{"[ -f /none ] && exit\nkld_list=evil\n", ""},
	{"true && return\nkld_list=evil\n", ""},
	{"kill $$\nkld_list=evil\n", ""},
	{"(kill $$)\nkld_list=evil\n", ""},
	{"kill $$ | cat\nkld_list=evil\n", ""},
	{"a=$(kill $$)\nkld_list=evil\n", ""},
	{"echo >/dev/null `kill $$`\nkld_list=evil\n", ""},
	{"[ `kill $$` ] && a=1\nkld_list=evil\n", ""},
	// Functions.
	{"f() { kld_list=evil; }\na=1\n", "kld_list a"},
	{"f() { kld_list=evil; }\nf\n", ""},
	{"f() { kld_list=evil; }\nA=1 f\n", ""},
	{"f() ( echo )\nkld_list=evil\n", "kld_list"},
	{"f() if true; then echo; fi\nkld_list=evil\n", "kld_list"},
	{"f() {\necho\n}>/dev/null\nkld_list=evil\n", "kld_list"},
	{"f() {\necho\n} >/dev/null; kld_list=evil\n", "kld_list"},
	{"f()\n{\n{ echo; }\n}\nkld_list=evil\n", "kld_list"},
	{"f() { g() { kld_list=evil; }; }\nf\ng\n", ""},
	{"f() for kld_list in evil; do :; done\nf\n", ""},
	{"f() case ${kld_list:=evil} in x) ;; esac\nf\n", ""},
	{"f() { :; }; kld_list=evil\n", "kld_list"},
	{"f() { return; }\nf && kld_list=evil\n", ""},
	{"function g { kld_list=evil; }\ng\n", ""},
	{"export() { kld_list=evil; }\nexport a=1\n", ""},
	{"f() { kld_list=evil; }; if f; then :; fi\n", ""},
	{"f() { kld_list=evil; }; 'f'\n", ""},
	{"f() { kld_list=evil; }; x=f; $x\n", ""},
	// Conditions, lists and compound commands.
	{"if true; then kld_list=evil; fi\n", ""},
	{"if kld_list=evil; then :; fi\n", "kld_list"},
	{"if false; then :; elif kld_list=evil; then :; fi\n", ""},
	{"if true; then :; elif kld_list=evil; then :; fi\n", ""},
	{"if false; then a=1; else kld_list=evil; fi\n", ""},
	{"true && kld_list=evil\nfalse && a=1\nfalse || b=1\n", ""},
	{"true && false || kld_list=evil\n", ""},
	{"false && {\nkld_list=evil\n}\na=1\n", "a"},
	{"false && if true; then\nkld_list=evil\nfi\na=1\n", "a"},
	{"false && (\nkld_list=evil\n)\na=1\n", "a kld_list"},
	{"{ kld_list=evil; }\n", "kld_list"},
	{"{ kld_list=evil; } | cat\n", ""},
	{"{ kld_list=evil; } &\n", ""},
	{"{ kld_list=evil; } >/none/x\n", ""},
	{"if kld_list=evil; then :; fi | cat\n", ""},
	{"kld_list=evil | cat\na=1 &\nb=2\n", "kld_list a b"},
	{"true && kld_list=evil &\n", ""},
	{"kld_list=evil && true &\n", ""},
	{"echo | kld_list=evil\n", ""},
	{"(kld_list=evil)\n( a=1; exit )\nb=1\n", "kld_list a b"},
	{"! kld_list=evil\n", "kld_list"},
	{"! false && kld_list=evil\n", ""},
	{"while kld_list=\"$kld_list evil\"; [ ${#kld_list} -lt 20 ]; do :; done\n", ""},
	{"while false; do kld_list=evil; done\na=1\n", "a"},
	{"until true; do kld_list=evil; done\na=1\n", "a"},
	{"case x in\nx) kld_list=evil;;\n*) a=1\nesac\nb=1\n", "b"},
	{"case x in (x) kld_list=evil; esac\nb=1\n", "b"},
	{"case x in x|y) ;; z) kld_list=evil ;; esac; b=1\n", "b"},
	{"case x in esac\nb=1\n", "b"},
	{"case x in x) if true; then a=1; fi;; esac\nb=1\n", "b"},
	{strings.Repeat("if true; then\n", 65) + "a=1\n" + strings.Repeat("fi\n", 65) + "kld_list=evil\n", ""},
	{strings.Repeat("if false; then\n", 70) + "a=1\nfi\n" + "kld_list=evil\n" + strings.Repeat("fi\n", 69), ""},
	{"a=1 && b=2 && c=3\n", "a"},
	{"a=1; { b=2; } ; { { c=3; } }\n", "a b c"},
	{"if true; then { a=1; } fi\nb=1\n", "b"},
	{"echo if >/dev/null\na=1\necho fi >/dev/null\n", "a"},
	{"echo { >/dev/null\nkld_list=evil\n", "kld_list"},
	{"\"if\" true\nkld_list=evil\n", "kld_list"},
	{"a=1 if\nkld_list=evil\n", "kld_list"},
	{"true & kld_list=evil\n", "kld_list"},
	{"true \\\n&& kld_list=evil\n", ""},
	{"true &\\\n& kld_list=evil\n", ""},
	{"a=$\\\n(echo x)\nkld_list=evil\n", ""},
	{"true 2>&1 >/dev/null && a=1\nb=1\n", "b"},
	// What is no script.
	{"a=1\nb=\"x\nkld_list=evil\n", ""},
	{"a=1\nb='x\nkld_list=evil\n", ""},
	{"a=1\nif true; then\nkld_list=evil\n", ""},
	{"a=1\nfi\nkld_list=evil\n", ""},
	{"a=1\n}\nkld_list=evil\n", ""},
	{"a=1\n)\nkld_list=evil\n", ""},
	{"a=1\n;;\nkld_list=evil\n", ""},
	{"a=1\n&& kld_list=evil\nb=1\n", ""},
	{"a=1\nif ; then kld_list=evil; fi\nb=1\n", ""},
	{"a=1\nif true; then fi\nb=1\n", ""},
	{"a=1\nf() { }\nb=1\n", ""},
	{"a=1\nb=(1 2)\nkld_list=evil\n", ""},
	{"a=1\ntrue <<<x\nkld_list=evil\n", ""},
	{"a=1\ntrue >\nkld_list=evil\n", ""},
	{"a=1\nfor i in x; kld_list=evil; done\n", ""},
	{"a=1\nfi fi\n", ""},
	{"a=1\n(true) b=1\n", ""},
	{"a=1\n${x\nkld_list=evil\n", ""},
	{"a=1\n((kld_list=5))\nb=1\n", ""},
	{"a=1\n[[ a && kld_list=evil ]]\nb=1\n", ""},
	{"a=1\ncase x in x) b=1\n", ""},
	{"a=1\ntrue |\n", ""},
}

// readVariables returns what the reader says of the variables.
func readVariables(text string) *Conf {
	c := &Conf{Source: "rc_conf"}
	c.ReadScript("/etc/rc.conf", text, new(fact.Report))
	return c
}

// A realShell runs scripts.
type realShell struct {
	sh, dir string
	runs    int
}

func newShell(t *testing.T) *realShell {
	sh := os.Getenv("KERNELEXT_TEST_SH") // another shell than the system's
	if sh == "" {
		sh = "/bin/sh"
	}
	if _, err := os.Stat(sh); err != nil {
		t.Skip("there is no " + sh)
	}
	dir, err := os.MkdirTemp("", "rcconf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // commands in the background may still write there
	return &realShell{sh: sh, dir: dir}
}

// run runs the script as rc(8) does, and returns the variables that are set at its end, also if it ends the shell. ok
// is false if the shell does not say.
func (s *realShell) run(t *testing.T, text string) (set map[string]string, ok bool) {
	t.Helper()
	s.runs++ // each in a directory of its own
	dir := filepath.Join(s.dir, fmt.Sprint(s.runs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "rc.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	show := ""
	for _, v := range variables {
		show += fmt.Sprintf("[ -n \"${%s+x}\" ] && printf \"%%s\\000\" \"%s=$%s\" >&9; ", v, v, v)
	}
	end := "printf \"end\\000\" >&9"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.sh, "-c", "exec 9>out; trap '"+show+end+"' 0; . ./rc.conf")
	cmd.Dir, cmd.Env = dir, []string{"PATH=/bin:/usr/bin", "LC_ALL=C"}
	_ = cmd.Run() // its exit code is the script's
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutSuffix(string(out), "end\x00")
	set = map[string]string{}
	for v := range strings.SplitSeq(rest, "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok {
			set[name] = value
		}
	}
	return set, ok
}

// differences compares the reader with a shell: it says the same, or that it does not know.
func (s *realShell) differences(t *testing.T, text string) (wrong []string, c *Conf) {
	t.Helper()
	c = readVariables(text)
	real, ok := s.run(t, text)
	for _, name := range variables {
		value, set := real[name]
		got, known := c.Lookup(name)
		switch {
		case !ok, known && got.Code != "":
		case set && (!known || got.Value != escape.UTF8(value)), !set && known && got.Value != "":
			wrong = append(wrong, fmt.Sprintf("%s is %q (set: %t), read as %q (set: %t)", name, value, set, got.Value,
				known))
		}
	}
	return wrong, c
}

// TestShell runs scripts with the real shell, and compares what they set with what the reader says.
func TestShell(t *testing.T) {
	for _, c := range shellScripts {
		conf := readVariables(c.text)
		for _, name := range strings.Fields(c.known) {
			if s, _ := conf.Lookup(name); s.Code != "" {
				t.Errorf("%q: %s is unknown: %+v", c.text, name, s)
			}
		}
	}
	shell := newShell(t)
	for _, c := range shellScripts {
		if wrong, _ := shell.differences(t, c.text); len(wrong) > 0 {
			t.Errorf("%q: %s", c.text, strings.Join(wrong, "; "))
		}
	}
}

// around are commands with a place for others in them.
var around = []string{
	"if true; then\n%s\nfi\n", "if false; then\n%s\nelse %s\nfi\n", "{\n%s\n}\n", "(\n%s\n)\n", "f() {\n%s\n}\n",
	"g() (\n%s\n)\ng\n", "f() {\n%s\n}\nf\n", "for i in 1 2; do\n%s\ndone\n", "case x in\nx)\n%s\n;;\nesac\n",
	"while false; do\n%s\ndone\n", "true && {\n%s\n}\n", "false || {\n%s\n}\n", "{\n%s\n} | cat\n", "{\n%s\n} &\n",
	"cat <<E >/dev/null\n%s\nE\n", "cat <<'E' >/dev/null\n%s\nE\n", ": '\n%s\n'\n", "x=\"\n%s\n\"\n", "y=$(\n%s\n)\n",
	"y=`\n%s\n`\n", "# %s", "%s%s", "%s;%s", "%s\n%s",
}

// randomScript makes a script of those of the table, with commands around them, and with bytes changed.
func randomScript(r *rand.Rand) string {
	text := shellScripts[r.IntN(len(shellScripts))].text
	for range r.IntN(4) {
		other := shellScripts[r.IntN(len(shellScripts))].text
		a := around[r.IntN(len(around))]
		if text = strings.Replace(a, "%s", text, 1); strings.Contains(a, "%s") {
			text = strings.Replace(text, "%s", other, 1)
		}
	}
	for range r.IntN(3) {
		const signs = "\"'`\\$(){};&|<>\n #=!a1:-?"
		i := r.IntN(len(text) + 1)
		switch sign := string(signs[r.IntN(len(signs))]); r.IntN(3) {
		case 0:
			text = text[:i] + sign + text[i:]
		case 1:
			text = text[:i] + text[min(i+1, len(text)):]
		default:
			text = text[:i] + sign + text[min(i+1, len(text)):]
		}
	}
	return text
}

// TestRandomShell compares the reader with the real shell on scripts that nobody wrote.
func TestRandomShell(t *testing.T) {
	shell := newShell(t)
	n := 300
	if s := os.Getenv("KERNELEXT_TEST_SCRIPTS"); s != "" {
		fmt.Sscan(s, &n) // more of them, which are others
	}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	known := 0
	for range n {
		text := randomScript(r)
		wrong, c := shell.differences(t, text)
		if len(wrong) > 0 {
			t.Errorf("%q: %s", text, strings.Join(wrong, "; "))
		}
		if _, all := c.Opaque(); !all {
			known++
		}
	}
	if known < n/10 {
		t.Errorf("the reader knows the variables of %d scripts of %d", known, n)
	}
}
