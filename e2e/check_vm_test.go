// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// A trial is one way for a module to get in, really tried.
type trial struct {
	module string
	way    string
	before []string // modules to load first
	try    agent.Command
}

const (
	trigger    = "/usr/bin/trigger"
	helperFile = "/proc/sys/kernel/modprobe"
)

// trials are the ways that can be tried: af_alg has an alias that any process may trigger, and
// comes with algif_hash; algif_aead is asked for by name; kernelext_base is unsigned.
func trials(tree string) []trial {
	user := func(argv ...string) agent.Command { return agent.Command{Argv: argv, UID: lab.User, GID: lab.User} }
	root := func(argv ...string) agent.Command { return agent.Command{Argv: argv} }
	return []trial{
		{"af_alg", linux.WayAutoloadAlias, nil, user(trigger, "socket")},
		{"af_alg", linux.WayUnprivileged, nil, user(trigger, "socket")},
		{"af_alg", linux.WayModprobe, nil, root("modprobe", "af_alg")},
		{"af_alg", linux.WayDependency, nil, root("modprobe", "algif_hash")},
		{"af_alg", linux.WayInsmod, nil, root("insmod", tree+"/kernel/crypto/af_alg.ko")},
		{"algif_aead", linux.WayAutoloadName, []string{"af_alg"}, user(trigger, "bind", "aead")},
		{"algif_aead", linux.WayUnprivileged, []string{"af_alg"}, user(trigger, "bind", "aead")},
		{"algif_aead", linux.WayModprobe, []string{"af_alg"}, root("modprobe", "algif_aead")},
		{"algif_aead", linux.WayInsmod, []string{"af_alg"}, root("insmod", tree+"/kernel/crypto/algif_aead.ko")},
		{module.Base, linux.WayModprobe, nil, root("modprobe", module.Base)},
		{module.Base, linux.WayInsmod, nil, root("insmod", tree+"/updates/"+module.Base+".ko")},
	}
}

// A regime is what is in force while the attempts are made.
type regime struct {
	name    string
	conf    string // /etc/modprobe.d/x.conf
	set     string // a file to write 1 to: nothing can be tried in this guest afterwards but refusals
	cmdline string
	only    string // the module that is tried; empty for all
	helper  string // what to write to /proc/sys/kernel/modprobe; empty for nothing
	// blocked are the attempts that the kernel must refuse, as "module way": the table's own word,
	// beside that of the kernel.
	blocked string
}

var regimes = []regime{
	{name: "nothing"},
	{name: "blacklist", conf: "blacklist af_alg\nblacklist algif_aead\nblacklist kernelext_base\n",
		blocked: "af_alg autoload_alias, af_alg unprivileged"},
	{name: "install false", conf: "install af_alg /bin/false\ninstall algif_aead /bin/false\n" +
		"install kernelext_base /bin/false\n",
		blocked: "af_alg autoload_alias, af_alg unprivileged, af_alg modprobe, af_alg dependency, algif_aead " +
			"autoload_name, algif_aead unprivileged, algif_aead modprobe, " +
			"kernelext_base modprobe"},
	{name: "install true", conf: "install algif_aead /bin/true\n", blocked: "algif_aead autoload_name, algif_aead " +
		"unprivileged, algif_aead modprobe"},
	{name: "install false, and a softdep", only: "algif_aead", conf: "install algif_aead /bin/false\n" +
		"softdep algif_aead pre: af_alg\n"},
	{name: "install false, and a softdep of nothing", only: "algif_aead", conf: "install algif_aead /bin/false\n" +
		"softdep algif_aead pre: nosuch\n",
		blocked: "algif_aead autoload_name, algif_aead unprivileged, algif_aead modprobe"},
	{name: "alias off", only: "af_alg", conf: "alias net-pf-38 off\n",
		blocked: "af_alg autoload_alias, af_alg unprivileged"},
	{name: "an install line for the alias", only: "af_alg", conf: "install net-pf-38 /bin/false\n",
		blocked: "af_alg autoload_alias, af_alg unprivileged"},
	{name: "an install line for a pattern of the alias", only: "af_alg", conf: "install net-pf-3* /bin/false\n"},
	{name: "an install line for a pattern of the name", only: "af_alg", conf: "install af_al* /bin/false\n",
		blocked: "af_alg autoload_alias, af_alg unprivileged, af_alg modprobe, af_alg dependency"},
	{name: "no helper", helper: "\n", blocked: "af_alg autoload_alias, af_alg unprivileged, algif_aead autoload_name," +
		" algif_aead unprivileged"},
	{name: "a helper that does nothing", only: "algif_aead", helper: "/bin/true",
		blocked: "af_alg autoload_alias, af_alg unprivileged, algif_aead autoload_name, algif_aead unprivileged"},
	{name: "modules_disabled", set: "/proc/sys/kernel/modules_disabled", blocked: "all"},
	{name: "module_blacklist", cmdline: "module_blacklist=af_alg,kernelext_base",
		blocked: "af_alg autoload_alias, af_alg unprivileged, af_alg modprobe, af_alg dependency, af_alg insmod, " +
			"algif_aead autoload_name, algif_aead unprivileged, " +
			"algif_aead modprobe, algif_aead insmod, kernelext_base modprobe, kernelext_base insmod"},
	{name: "sig_enforce", cmdline: "module.sig_enforce=1", blocked: "kernelext_base modprobe, kernelext_base insmod"},
	{name: "lockdown", cmdline: "lockdown=integrity", blocked: "kernelext_base modprobe, kernelext_base insmod"},
}

// TestVerdicts confirms every verdict about now by trying each way by itself.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud61)
	tree := "/lib/modules/" + k.Release
	plain := verdictGuest(t, k, "") // for every regime that needs no other command line
	for _, r := range regimes {
		t.Run(r.name, func(t *testing.T) {
			g := plain.For(t)
			if r.cmdline != "" {
				t.Parallel()
				g = verdictGuest(t, k, r.cmdline)
			}
			r.run(t, g, tree)
		})
	}
}

// verdictGuest boots a kernel with the modules of the attempts below /lib/modules.
func verdictGuest(t *testing.T, k debian.Kernel, cmdline string) *lab.Guest {
	t.Helper()
	i := lab.Image(t, k, "af_alg", "algif_aead", "algif_hash")
	dir := lab.OutOfTree(t, k)
	for _, name := range []string{module.Base} {
		i.Copy("/lib/modules/"+k.Release+"/updates/"+name+".ko", filepath.Join(dir, name+".ko"))
	}
	i.Add("/etc/modprobe.d/x.conf", 0o644, nil)
	i.Add(trigger, 0o755, lab.Program(t, "e2e", "./trigger"))
	for _, tool := range []string{"/bin/sh", "/bin/false", "/bin/true"} {
		i.CopyProgram(tool)
	}
	g := lab.Boot(t, k, i, strings.Fields(cmdline)...)
	g.Root("depmod")
	return g
}

func (r regime) run(t *testing.T, g *lab.Guest, tree string) {
	if err := g.WriteFile(t.Context(), "/etc/modprobe.d/x.conf", 0o644, []byte(r.conf)); err != nil {
		t.Fatal(err)
	}
	if r.set != "" {
		unload(t, g)
		if err := g.Set(t.Context(), r.set, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if r.helper != "" {
		unload(t, g)
		if err := g.Set(t.Context(), helperFile, r.helper); err != nil {
			t.Fatal(err)
		}
		defer g.Set(context.WithoutCancel(t.Context()), helperFile, "/sbin/modprobe")
	}
	cells := 0
	for _, a := range trials(tree) {
		if r.only != "" && a.module != r.only {
			continue
		}
		if r.set == "" {
			unload(t, g)
			for _, name := range a.before {
				// past the configuration
				g.Do(agent.Command{Argv: []string{"insmod", tree + "/kernel/crypto/" + name + ".ko"}})
			}
		}
		said := verdictNow(t, g, a.module, a.way)
		g.Do(a.try)
		came := strings.Contains("\n"+string(g.File("/proc/modules")), "\n"+a.module+" ")
		want := r.blocked == "all" || strings.Contains(r.blocked+",", a.module+" "+a.way+",")
		if came == want {
			t.Errorf("%s by %s: the kernel let it in: %v; the table says blocked: %v", a.module, a.way, came, want)
		}
		if said != lkm.TriOf(!came) {
			t.Errorf("%s by %s: the kernel let it in: %v; lkm check says blocked: %q", a.module, a.way, came, said)
		}
		cells++
	}
	t.Logf("%d cells", cells)
}

// unload takes out what the attempts load.
func unload(t *testing.T, g *lab.Guest) {
	t.Helper()
	list := "\n" + string(g.File("/proc/modules"))
	for _, name := range []string{"algif_hash", "algif_aead", "af_alg", module.Base} {
		if strings.Contains(list, "\n"+name+" ") {
			g.Root("rmmod", name)
		}
	}
	if strings.Contains(string(g.File("/proc/modules")), "alg") {
		t.Fatalf("not unloaded:\n%s", g.File("/proc/modules"))
	}
}

// checkIn asks lkm, as root, and holds the exit code against what it says.
func checkIn(t *testing.T, g *lab.Guest, name string) lkm.Verdict {
	t.Helper()
	r := g.Do(agent.Command{Argv: []string{lab.Lkm, "check", name, "--format", "json"}})
	var verdicts []lkm.Verdict
	if err := json.Unmarshal(r.Stdout, &verdicts); err != nil || len(verdicts) != 1 || verdicts[0].Now == nil {
		t.Fatalf("lkm check %s: %v\n%s%s", name, err, r.Stdout, r.Stderr)
	}
	if code := checkCode(verdicts[0]); r.Code != code {
		t.Errorf("lkm check %s: exit code %d, want %d", name, r.Code, code)
	}
	return verdicts[0]
}

// verdictNow asks lkm, as root, whether a way is blocked now.
func verdictNow(t *testing.T, g *lab.Guest, name, way string) lkm.Tri {
	t.Helper()
	v := checkIn(t, g, name)
	for _, w := range v.Now.Ways {
		if w.Way == way {
			return w.Blocked
		}
	}
	t.Errorf("%s: no way %s in %+v", name, way, v.Now)
	return ""
}

// checkCode is the exit code that a verdict stands for.
func checkCode(v lkm.Verdict) int {
	code := 0
	for _, p := range []*lkm.Prospect{v.Now, v.NextBoot} {
		switch {
		case p == nil:
		case p.Outcome == lkm.VerdictLoaded, p.Outcome == lkm.VerdictBuiltin, p.Outcome == lkm.VerdictLoadable:
			return 1
		case p.Outcome == lkm.VerdictUnknown:
			code = 3
		}
	}
	return code
}

// TestInitcallBlacklist: code that is compiled in is there, unless the command line keeps the kernel from starting it;
// lkm finds the name of the function that starts it, and what it says is what the kernel did.
func TestInitcallBlacklist(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud61)
	const module = "pstore" // nothing needs it
	check := func(cmdline ...string) (v lkm.Verdict, started bool) {
		g := lab.Boot(t, k, lab.Image(t, k), cmdline...)
		dirs := g.Dir("/sys/fs")
		return checkIn(t, g, module), slices.ContainsFunc(dirs, func(e agent.Entry) bool { return e.Name == module })
	}
	v, there := check()
	if v.Now.Outcome != lkm.VerdictBuiltin || !there || len(v.Remedies) != 1 {
		t.Fatalf("started: %v, %+v", there, v)
	}
	word, _, ok := strings.Cut(v.Remedies[0].Text, " ")
	if !ok || !strings.HasPrefix(word, "initcall_blacklist=") || strings.Contains(word, "FUNCTION") {
		t.Fatalf("no function is named: %+v", v.Remedies)
	}
	v, there = check(word)
	if v.Now.Outcome != lkm.VerdictBlocked || there {
		t.Errorf("%s: started: %v, %+v", word, there, v)
	}
}
