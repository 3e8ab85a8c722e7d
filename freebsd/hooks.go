// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// rcScript is what init(8) runs at boot: FreeBSD's orders the scripts of rc.d with rcorder(8) and runs them.
const rcScript = "etc/rc"

// maxHooks is how many klds are kept that hooks load, and hookMemory what one takes beside its name, in bytes.
const (
	maxHooks   = 4096
	hookMemory = 256
)

// A hook is a file beside the scripts of rc.d whose commands the boot may run.
type hook struct {
	file string
	// mark is what a line must have, too, to be run at boot; empty for any line.
	mark string
	// text says when its lines are run.
	text string
}

// readHooks reads what the boot runs beside the scripts of rc.d, as far as it loads klds: rc.local, the start_if.NAME
// of rc.d/netif, the actions of devd(8), and the jobs that cron(8) runs at boot, which begins before rc.d/securelevel.
func (c *config) readHooks() {
	if c.exists("etc/rc.local") {
		c.readScript("etc/rc.local", false)
	}
	for _, h := range c.hookFiles() {
		c.readHook(h)
	}
	c.readInit()
}

// cronDirs are the directories whose files cron(8) reads beside /etc/crontab.
var cronDirs = []string{"etc/cron.d", "usr/local/etc/cron.d"}

// hookFiles returns the files whose commands the boot may run. What a recording keeps of them is redactHook's: isHook
// names each.
func (c *config) hookFiles() []hook {
	var hooks []hook
	for _, name := range c.names("etc", SourceServices) {
		if strings.HasPrefix(name, "start_if.") {
			hooks = append(hooks, hook{"etc/" + name, "", "rc.d/netif loads it if there is that interface"})
		}
	}
	if s, ok := c.of("devd").Lookup("devd_enable"); !ok || s.Code != "" || rcconf.Yes(s.Value) {
		const text = "devd(8) loads it for its device"
		hooks = append(hooks, hook{"etc/devd.conf", "", text})
		for _, dir := range []string{"etc/devd", "usr/local/etc/devd"} {
			for _, name := range c.names(dir, SourceServices) {
				hooks = append(hooks, hook{dir + "/" + name, "", text})
			}
		}
	}
	hooks = append(hooks, c.firewallHooks()...)
	if s, ok := c.of("jail").Lookup("jail_enable"); ok && (s.Code != "" || rcconf.Yes(s.Value)) {
		const text = "jail(8) may load it when it starts the jail"
		hooks = append(hooks, hook{"etc/jail.conf", "", text})
		for _, name := range c.names("etc/jail.conf.d", SourceServices) {
			hooks = append(hooks, hook{"etc/jail.conf.d/" + name, "", text})
		}
	}
	tabs := []string{"etc/crontab", "var/cron/tabs/root"}
	for _, dir := range cronDirs {
		for _, name := range c.names(dir, SourceServices) {
			tabs = append(tabs, dir+"/"+name)
		}
	}
	for _, file := range tabs {
		hooks = append(hooks, hook{file, "@reboot", "cron(8) may load it before the securelevel is raised"})
	}
	return hooks
}

// firewallHooks returns the scripts that rc.d/ipfw runs: firewall_script, and firewall_coscripts. One outside of the
// directories of configuration is not read: it may load any kld.
func (c *config) firewallHooks() []hook {
	rc := c.of("ipfw")
	if s, ok := rc.Lookup("firewall_enable"); !ok || s.Code == "" && !rcconf.Yes(s.Value) {
		return nil
	}
	var hooks []hook
	for _, name := range []string{"firewall_script", "firewall_coscripts"} {
		words, s := rc.List(name)
		if s.Code != "" {
			c.hooks = append(c.hooks, request{WayService, "", fact.UnsureOf(s.Unknown(ReasonService))})
		}
		words, err := limit.Most(words, maxConfFiles, name)
		if err != nil {
			c.lose(SourceServices, err)
		}
		for _, w := range words {
			if file := slashPath(w); isConf(file) {
				hooks = append(hooks, hook{file, "", "rc.d/ipfw runs it"})
			} else if c.exists(file) {
				c.hooks = append(c.hooks, request{WayService, "", fact.UnsureOf(s.Reason(ReasonService,
					"rc.d/ipfw runs "+escape.Text(w)+", which is not read: it may load any kld"))})
			}
		}
	}
	return hooks
}

// exists reports whether there is, or may be, a file of that name.
func (c *config) exists(name string) bool {
	_, err := fs.Stat(c.fsys, name)
	return !errors.Is(err, fs.ErrNotExist)
}

// readHook takes the klds that the lines of a hook load.
func (c *config) readHook(h hook) {
	b, item, err := limit.ReadItem(c.fsys, h.file, maxScript, c.syntax.Budget)
	defer item.Done()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.lose(SourceServices, err)
		}
		return
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		comment := strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "*")
		if comment || !strings.Contains(line, h.mark) {
			continue
		}
		if err := c.hookLine(h, n, line, item); err != nil {
			c.lose(SourceServices, fmt.Errorf("/%s: %w", h.file, err))
			return
		}
	}
}

// hookLine keeps the klds that a line of a hook loads.
func (c *config) hookLine(h hook, n int, line string, item *fact.Item) error {
	for _, target := range rcconf.Loads(line, loadWords) {
		if err := c.addHook(h, n, target, item); err != nil {
			return err
		}
	}
	return nil
}

// looseLoads takes the klds that the lines of a script load whose grammar is not followed: each may run. It returns the
// error if that does not say what the script loads, or if more than the grammar is wrong.
func (c *config) looseLoads(name, text string, item *fact.Item, err error) error {
	if !errors.Is(err, fact.ErrMalformed) || strings.Contains(text, "required_modules") {
		return err
	}
	h := hook{file: name, text: "a script that rc(8) may run, of which the grammar was not followed, loads it"}
	n := 0
	for line := range strings.Lines(rcconf.Uncomment(text, item)) {
		n++
		if over := c.hookLine(h, n, line, item); over != nil {
			return over
		}
	}
	c.syntax.Problem(SourceServices, "", "", fmt.Errorf("/%s: %w", name, err))
	return nil
}

// loadWords are the commands that load klds: kldload(8), and the function of rc.subr(8).
var loadWords = []string{"kldload", "load_kld"}

// confLoads takes the klds that the commands of a file of rc.conf(5) load, which rc(8) and each of its scripts run.
func (c *config) confLoads(file, text string, r *fact.Report) {
	if !mentionsLoad(text) {
		return
	}
	item := r.Budget.Content([]byte(text))
	defer item.Done()
	h := hook{file: strings.TrimPrefix(file, "/"), text: "a command of rc.conf(5), which rc(8) runs, loads it"}
	n := 0
	for line := range strings.Lines(rcconf.Uncomment(text, item)) {
		n++
		if err := c.hookLine(h, n, line, item); err != nil {
			c.lose(SourceServices, fmt.Errorf("%s: %w", file, err))
			return
		}
	}
}

// addHook keeps the kld of a hook's line; empty is any kld.
func (c *config) addHook(h hook, line int, target string, item *fact.Item) error {
	if len(c.hooks) == maxHooks {
		return fmt.Errorf("%w: more than %d klds that the boot loads beside services", fact.ErrTooLarge, maxHooks)
	}
	if err := item.Keep(hookMemory + int64(len(target))); err != nil {
		return err
	}
	c.hooks = append(c.hooks, request{WayService, escape.UTF8(target), fact.UnsureOf(fact.Reason{
		Code: ReasonService, File: "/" + h.file, Line: line, Text: h.text})})
	return nil
}

// readInit looks whether init(8) runs FreeBSD's rc(8). What another one runs (pfSense, OPNsense) is not known: it may
// load any kld, and may not raise the securelevel.
func (c *config) readInit() {
	b, item, err := limit.ReadItem(c.fsys, rcScript, maxScript, c.syntax.Budget)
	defer item.Done()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		c.lose(SourceServices, err)
	case !strings.Contains(string(b), "rcorder"):
		c.foreign = fact.Unsure(ReasonService, "/"+rcScript+" is not FreeBSD's: what it runs at boot is not known")
		c.hooks = append(c.hooks, request{WayService, "", c.foreign})
	}
}

// keywords answers by the words of a script's KEYWORD line, which rcorder(8) skips scripts by: one that rc(8) does not
// start may be started by another, and one of the first boot runs only if the file that says so is there. It does not
// apply if rc(8) starts the script.
func (c *config) keywords(file, text string, item *fact.Item) fact.Answer {
	if err := item.Work(int64(len(text))); err != nil {
		return fact.UnsureOf(fact.Reason{Code: ReasonService, File: file, Text: err.Error()})
	}
	for line := range strings.Lines(text) {
		words, ok := strings.CutPrefix(strings.TrimSpace(line), "# KEYWORD")
		if !ok {
			continue
		}
		for _, w := range strings.Fields(strings.TrimLeft(words, "S: ")) {
			reason := fact.Reason{Code: ReasonService, File: file}
			switch w {
			case "nostart":
				reason.Text = "rc(8) does not start it (nostart); devd(8) or another script may"
				return fact.UnsureOf(reason)
			case "firstboot":
				if name := c.firstBoot(); name != "" && !c.exists(slashPath(name)) {
					reason.Text = "it runs at the first boot, and there is no " + escape.Text(name)
					return fact.Stops(reason)
				}
			}
		}
	}
	return fact.Answer{}
}

// firstBoot returns the path of the file that says that this is the first boot; empty if that is not known.
func (c *config) firstBoot() string {
	s, ok := c.RC.Lookup("firstboot_sentinel")
	switch {
	case ok && s.Code != "":
		return ""
	case ok && s.Value != "":
		return s.Value
	}
	return "/firstboot"
}
