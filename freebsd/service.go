// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// A service is what a script of rc(8) loads when its service starts.
type service struct {
	name string
	file string // the script
	// rcvar is the variable that turns it on; empty for one that always runs.
	rcvar string
	line  int  // of rcvar
	odd   bool // the variable is computed
	// started answers by the script's keywords whether rc(8) starts it; it does not apply if rc(8) does.
	started fact.Answer
	conf    *rcconf.Conf
	loads   []load
}

// A load is one module that a script loads.
type load struct {
	target string // a name or a path; empty if it is computed
	line   int
	conds  []rcconf.Cond
	// inside is the function that loads it; empty for required_modules outside of functions, which rc.subr loads before
	// the service starts.
	inside string
	// always is set if it may be loaded when rc(8) reads the script, before run_rc_command asks whether the service is
	// on.
	always bool
}

const maxScript = 1 << 20

// systemScripts is where rc(8) finds the scripts of the system.
const systemScripts = "etc/rc.d"

// ownScript reports whether other settings name the modules that a script loads: kld_list, and the devices.
func ownScript(name string) bool { return name == "kld" || name == "devmatch" }

// skipsScript reports whether rc(8) passes over a file of that name (rc.subr: find_local_scripts_new, run_rc_script).
// No "*" of the shell matches a name that begins with ".".
func skipsScript(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	for _, suffix := range []string{".sample", ".pkgsave", ".OLD", ".bak", ".orig", ",v", "~", "#"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// scriptDirs returns the directories of scripts: rc.d of the system, and those of local_startup.
func (c *config) scriptDirs() []string {
	dirs := []string{systemScripts}
	words, s := c.RC.List("local_startup")
	if s.File == "" || s.Code != "" {
		words = []string{"/usr/local/etc/rc.d"}
	}
	if s.Code != "" && s.Line > 0 { // a file that was not read is reported as such
		c.lose(SourceServices, &fact.ParseError{Source: s.File, Line: s.Line, Field: s.Name, Reason: "is computed"})
	}
	words, err := limit.Most(words, maxConfFiles, "local_startup")
	if err != nil {
		c.lose(SourceServices, err)
	}
	for _, w := range words {
		dirs = append(dirs, slashPath(w))
	}
	return dirs
}

// readServices reads the scripts of rc(8), or knows those of a root without them.
func (c *config) readServices(ctx context.Context) {
	for _, dir := range c.scriptDirs() {
		for _, name := range c.names(dir, SourceServices) {
			if ctx.Err() != nil {
				c.lose(SourceServices, ctx.Err())
				return
			}
			c.scripts = c.scripts || dir == systemScripts
			if ownScript(name) || skipsScript(name) {
				continue
			}
			c.readScript(dir+"/"+name, dir != systemScripts && !strings.HasSuffix(name, ".sh"))
		}
	}
	if _, lost := c.lost(SourceServices); !c.scripts && !lost {
		c.services = append(c.services, c.knownServices()...)
	}
}

// isProvider reports whether a text has the line by which rc(8) knows a script of local_startup (rc.subr:
// find_local_scripts_new). That such a file must be executable, too, is not asked: not every root keeps that.
func isProvider(text string) bool {
	return strings.HasPrefix(text, "# PROVIDE:") || strings.Contains(text, "\n# PROVIDE:")
}

// readScript reads one script. If provides is set, rc(8) runs it only with the line that says what it provides.
func (c *config) readScript(name string, provides bool) {
	b, item, err := limit.ReadItem(c.fsys, name, maxScript, c.syntax.Budget)
	defer item.Done()
	if err != nil {
		c.lose(SourceServices, err)
		return
	}
	if provides && !isProvider(string(b)) {
		return
	}
	s := service{file: "/" + name, name: fileName(name), started: c.keywords("/"+name, string(b), item)}
	p := newScriptReader(&s, item)
	if err := cmp.Or(rcconf.ReadShell(string(b), item, p.run), p.over); err != nil {
		if err = c.looseLoads(name, string(b), item, err); err != nil {
			c.lose(SourceServices, fmt.Errorf("%s: %w", s.file, err))
		}
		return
	}
	p.close()
	if len(s.loads) == 0 {
		return
	}
	s.conf = c.of(s.name)
	if len(p.presets) > 0 { // the script's own defaults, which rc.conf comes before or after
		own := &rcconf.Conf{Source: SourceRCConf, Parent: s.conf}
		for _, cmd := range p.presets {
			own.Run(s.file, cmd, &p.odd)
		}
		s.conf = own
	}
	c.services = append(c.services, s)
}

// A scriptReader takes a script of rc(8) apart.
type scriptReader struct {
	service *service
	vars    rcconf.Conf // the script's own variables
	starts  map[string]bool
	presets []rcconf.Command
	named   bool
	odd     fact.Report // what is computed, which a load that needs it says
	over    error       // what it keeps that is more than the script may take

	calls   map[string][]string // what each function may call; of "", what is outside of functions
	noted   map[call]bool
	holders map[string][]span // the loads that a variable holds the command of; "$" is before its name
}

func newScriptReader(s *service, item *fact.Item) *scriptReader {
	return &scriptReader{service: s, starts: map[string]bool{}, vars: rcconf.Conf{Source: SourceRCConf, Item: item},
		calls: map[string][]string{}, noted: map[call]bool{}, holders: map[string][]span{}}
}

// keep reports whether a command may be kept.
func (p *scriptReader) keep(cmd *rcconf.Command) bool {
	if p.over == nil {
		p.over = p.vars.Item.Keep(cmd.Memory())
	}
	return p.over == nil
}

func (p *scriptReader) run(cmd rcconf.Command) {
	words := cmd.Words()
	if len(words) == 0 {
		return
	}
	p.note(cmd, words)
	switch word := words[0]; word {
	case "load_kld", "kldload", "/sbin/kldload":
		p.load(cmd, words[1:])
		return
	case ":":
		if cmd.Function == "" && p.keep(&cmd) {
			p.presets = append(p.presets, cmd)
		}
		p.wrapped(cmd, words)
		return
	}
	p.wrapped(cmd, words)
	name, value, ok := strings.Cut(cmd.Body, "=")
	if !ok || !rcconf.ValidName(name, true) {
		return
	}
	switch {
	case name == "required_modules":
		p.required(cmd, value)
	case cmd.Function != "":
	case name == "name" && !p.named:
		if v, _, known := p.vars.Value(name, value, true); known && v != "" {
			p.service.name, p.named = v, true
		}
		p.vars.Assign(p.service.file, cmd, &p.odd)
	case name == "rcvar":
		p.rcvar(cmd, value)
	case name == "start_cmd", name == "start_precmd", name == "start_postcmd":
		if v, _, known := p.vars.Value(name, value, true); known {
			p.starts[v] = true
		}
	default:
		p.vars.Assign(p.service.file, cmd, &p.odd)
		if strings.HasSuffix(name, "_enable") && p.keep(&cmd) {
			p.presets = append(p.presets, rcconf.Command{
				Line: cmd.Line, Body: ": ${" + name + ":=" + presetValue(value) + "}"})
		}
	}
}

// wrapped takes the klds that a command loads by another: "command kldload FILE", one whose output it uses, and one in
// a text or a variable that something may run.
func (p *scriptReader) wrapped(cmd rcconf.Command, words []string) {
	n := len(p.service.loads)
	if p.behind(cmd, words); len(p.service.loads) > n || !rcconf.Mentions(cmd.Body, loadWords) || prints(cmd, words) {
		return
	}
	cmd.Conds = append(slices.Clip(cmd.Conds), rcconf.Cond{})
	for _, target := range rcconf.Loads(cmd.Body, loadWords) {
		p.add(cmd, target)
	}
	p.holds(cmd, n)
}

// behind takes the klds of a command that is behind others which run it.
func (p *scriptReader) behind(cmd rcconf.Command, words []string) {
	for i, w := range words {
		if slices.Contains(loadWords, path.Base(strings.Trim(w, "\"'\\"))) {
			p.load(cmd, words[i+1:])
			return
		}
		isSet := strings.Contains(w, "=") && strings.Count(w, "\"")%2 == 0 && strings.Count(w, "'")%2 == 0
		if !isSet && !strings.HasPrefix(w, "-") && !slices.Contains(wrappers, path.Base(w)) {
			return
		}
	}
}

// prints reports whether a command that names one which loads klds only prints it, or looks for its file.
func prints(cmd rcconf.Command, words []string) bool {
	quiet := strings.NewReplacer(">&", "", ">/dev/null", "").Replace(cmd.Body)
	if cmd.Subshell || strings.ContainsAny(quiet, "`(>") { // something may run what it prints
		return false
	}
	switch words[0] {
	case "echo", "printf", "warn", "err", "info", "debug", "logger", "[", "test", "which", "type", "hash":
		return true
	case "command":
		return len(words) > 1 && strings.EqualFold(words[1], "-v")
	}
	name, _, isSet := strings.Cut(words[0], "=")
	return isSet && (name == "name" || name == "desc" || name == "rcvar")
}

// wrappers are the commands that run the command after them.
var wrappers = []string{"command", "builtin", "exec", "env", "nohup", "time", "sudo", "eval", "limits", "nice"}

// presetValue returns what a script's own NAME=${NAME:-VALUE} or NAME=VALUE gives if rc.conf says nothing.
func presetValue(value string) string {
	value = strings.Trim(value, `"'`)
	for _, mark := range []string{":-", "-"} {
		if _, v, ok := strings.Cut(value, mark); ok && strings.HasPrefix(value, "${") {
			return strings.Trim(strings.TrimSuffix(v, "}"), `"'`)
		}
	}
	return value
}

// rcvar takes the variable that turns the service on; scripts before FreeBSD 9 ask set_rcvar for NAME_enable.
func (p *scriptReader) rcvar(cmd rcconf.Command, value string) {
	s := p.service
	s.line = cmd.Line
	v, _, known := p.vars.Value("rcvar", value, true)
	switch {
	case strings.Contains(value, "set_rcvar"):
		v = s.name + "_enable"
		if _, arg, ok := strings.Cut(value, "set_rcvar "); ok {
			v = strings.TrimRight(arg, "`\") ")
		}
	case !known || len(cmd.Conds) > 0:
		s.odd = true
		return
	}
	if v == ":" {
		v = ""
	}
	s.rcvar = strings.TrimSpace(v)
}

// required takes the modules that rc.subr loads before the service starts: FILE, FILE:MODULE or FILE~REGEXP.
func (p *scriptReader) required(cmd rcconf.Command, value string) {
	n := len(p.service.loads)
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	for _, word := range strings.Fields(value) {
		if word == "$required_modules" || word == "${required_modules}" {
			continue
		}
		if i := strings.IndexAny(word, ":~"); i >= 0 && !strings.HasPrefix(word, "$") {
			word = word[:i]
		}
		p.add(cmd, word)
	}
	for i := range p.service.loads[n:] {
		p.service.loads[n+i].always = false // run_rc_command loads it
	}
}

// load takes the file of "load_kld [-e regexp] [-m module] FILE" or "kldload [-nqv] FILE…".
func (p *scriptReader) load(cmd rcconf.Command, words []string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case strings.HasPrefix(w, ">"), strings.HasPrefix(w, "2>"):
			return
		case (w == "-e" || w == "-m") && words[0] != "":
			i++
			if i < len(words) && strings.Count(words[i], "'") == 1 { // a quoted expression with blanks
				for i++; i < len(words) && !strings.Contains(words[i], "'"); i++ {
				}
			}
		case strings.HasPrefix(w, "-"):
		default:
			p.add(cmd, w)
		}
	}
}

// add adds a module by a word of the script.
func (p *scriptReader) add(cmd rcconf.Command, word string) {
	s := p.service
	v, _, known := p.vars.Value("", strings.Trim(word, `"'`), true)
	if !known {
		v = ""
		if strings.Contains(word, "${saver}") || strings.Contains(word, "$saver") {
			return // a setting of its own
		}
	}
	if len(s.loads) == maxConfFiles {
		p.over = cmp.Or(p.over, fmt.Errorf("%w: more than %d klds", fact.ErrTooLarge, maxConfFiles))
		return
	}
	if p.keep(&cmd) {
		s.loads = append(s.loads, load{escape.UTF8(v), cmd.Line, cmd.Conds, cmd.Function, cmd.Function == ""})
	}
}

// close settles which functions run when the service starts: those that start_cmd and its like name, and those that are
// called as they are by custom.
func (p *scriptReader) close() {
	s := p.service
	p.reach()
	for i := range s.loads {
		f := s.loads[i].inside
		if p.starts[f] || f == s.name+"_start" || f == s.name+"_prestart" {
			s.loads[i].inside = ""
		}
	}
}

// on answers whether the service starts at boot: whether its variable says yes, as rc.subr's checkyesno has it.
func (s *service) on() fact.Answer {
	if s.odd {
		return fact.UnsureOf(fact.Reason{Code: ReasonService, File: s.file, Line: s.line,
			Text: "which variable turns " + s.name + " on is computed"})
	}
	on := fact.Passes(fact.Reason{Code: ReasonService, File: s.file, Text: s.name + " starts at every boot"})
	if s.rcvar != "" {
		on = s.checkYesNo(s.rcvar)
	}
	if s.started.Applies() && on.Blocked() != fact.Yes {
		return s.started
	}
	return on
}

func (s *service) checkYesNo(name string) fact.Answer {
	v, _ := s.conf.Lookup(name)
	switch {
	case v.Code != "":
		return fact.UnsureOf(v.Unknown(ReasonService))
	case rcconf.Yes(v.Value):
		return fact.Passes(v.Reason(ReasonService, name+` is set: rc(8) starts `+s.name))
	case v.File == "":
		text := escape.Text(name) + " is not set: " + s.name + " does not start"
		return fact.Stops(fact.Reason{Code: ReasonService, Text: text})
	}
	return fact.Stops(v.Reason(ReasonService, escape.Text(name)+" is off: "+s.name+" does not start"))
}

// asks answers whether the service starts at boot, or the load does not wait for that.
func (s *service) asks(l load) fact.Answer {
	on := s.on()
	switch {
	case !l.always || on.Blocked() == fact.No:
		return on
	case s.started.Applies():
		return s.started
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonService, File: s.file, Line: l.line,
		Text: s.name + " may load it before rc(8) asks whether the service is on"})
}

// runs answers whether the line of the script that loads the module runs at boot.
func (s *service) runs(l load) fact.Answer {
	on := s.asks(l)
	if on.Blocked() == fact.Yes {
		return on
	}
	place := fact.Reason{Code: ReasonService, File: s.file, Line: l.line}
	var unsure fact.Answer // of a condition that cannot be decided: one that does not hold decides all the same
	for _, c := range l.conds {
		kind, name, _ := strings.Cut(c.Body, " ")
		if name = strings.TrimSpace(name); kind == "checkyesno" && rcconf.ValidName(name, true) {
			a := s.checkYesNo(name)
			switch {
			case a.Blocked() == "":
				unsure = a
			case (a.Blocked() == fact.Yes) != c.Not:
				return fact.Stops(a.Because())
			}
			continue
		}
		place.Text = s.name + " loads it under a condition that only rc(8) can decide"
		unsure = fact.UnsureOf(place)
	}
	if unsure.Applies() {
		return unsure
	}
	if l.inside != "" {
		place.Text = s.name + " loads it in " + escape.Text(l.inside) + ", which may run"
		return fact.UnsureOf(place)
	}
	return on
}

// knownServices are those of FreeBSD that load modules, for a root without scripts: the variable and the modules that
// rc.d/ of FreeBSD 10.2 to 15 names.
func (c *config) knownServices() []service {
	var out []service
	for _, k := range []struct{ name, rcvar, modules string }{
		{"pf", "pf_enable", "pf"}, {"pflog", "pflog_enable", "pflog"}, {"pfsync", "pfsync_enable", "pf pfsync"},
		{"ipfw", "firewall_enable", "ipfw"}, {"ipfilter", "ipfilter_enable", "ipl"}, {"ipnat", "ipnat_enable", "ipl"},
		{"natd", "natd_enable", "ipdivert"}, {"zfs", "zfs_enable", "zfs"}, {"linux", "linux_enable",
			"linux linux64 pty fdescfs linprocfs linsysfs tmpfs"}, {"nfsd", "nfs_server_enable", "nfsd"},
		{"nfsclient", "nfs_client_enable", "nfscl"}, {"automountd", "autofs_enable", "autofs"},
		{"iscsid", "iscsid_enable", "iscsi"}, {"iscsictl", "iscsictl_enable", "iscsi"}, {"ctld", "ctld_enable", "ctl"},
		{"hastd", "hastd_enable", "geom_gate"}, {"bthidd", "bthidd_enable", "kbdmux vkbd ng_btsocket"},
		{"hcsecd", "hcsecd_enable", "ng_btsocket"}, {"sdpd", "sdpd_enable", "ng_btsocket"},
		{"rfcomm_pppd_server", "rfcomm_pppd_server_enable", "ng_btsocket"}, {"ugidfw", "ugidfw_enable",
			"mac_bsdextended"}, {"hostapd", "hostapd_enable", "wlan_xauth wlan_wep wlan_tkip wlan_ccmp"},
		{"ipsec", "ipsec_enable", "ipsec"},
	} {
		s := service{name: k.name, rcvar: k.rcvar, conf: c.of(k.name)}
		for _, m := range strings.Fields(k.modules) {
			s.loads = append(s.loads, load{target: m})
		}
		out = append(out, s)
	}
	for _, on := range []struct{ rcvar, module string }{
		{"dummynet_enable", "dummynet"}, {"natd_enable", "ipdivert"}, {"firewall_nat_enable", "ipfw_nat"},
	} {
		i := slices.IndexFunc(out, func(s service) bool { return s.name == "ipfw" })
		out[i].loads = append(out[i].loads, load{
			target: on.module, conds: []rcconf.Cond{{Body: "checkyesno " + on.rcvar}}})
	}
	return out
}
