// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// Redact returns data without what a recording should not carry: load addresses, arguments and
// settings that no decoder here reads, such as a disk's passphrase in loader.conf. key is a file's
// slash path, or an op and its arguments joined by blanks. What was removed stays recognizable: an
// address becomes redactedAddress, a value "[redacted]".
func Redact(key string, data []byte) []byte { return redact(key, data, layoutFreeBSD) }

// RedactDragonFly is Redact for DragonFly's structures.
func RedactDragonFly(key string, data []byte) []byte { return redact(key, data, layoutDragonFly) }

func redact(key string, data []byte, l layout) []byte {
	switch {
	case strings.HasPrefix(key, OpKldStat+" "):
		return redactFileStat(data, l)
	case key == OpSysctl+" "+sysctlPreloaded:
		return redactPreloads(data)
	case key == "etc/fstab":
		return []byte(redactFstab(string(data)))
	case isScript(key):
		return redactScript(data)
	case isLoaderScript(key):
		return redactLoaderScript(key, data)
	case isHook(key):
		return redactHook(data)
	case key == "etc/sysctl.conf", key == "etc/sysctl.conf.local":
		return redactSysctl(data)
	case isConf(key):
		return redactSettings(data, !strings.HasPrefix(key, "boot/"))
	}
	return data
}

var preloadAddress = lazy.Regexp{Pattern: `0x[0-9a-f]{5,16}`}

// redactPreloads removes addresses and the values of arguments.
func redactPreloads(data []byte) []byte {
	var out strings.Builder
	args := false
	for line := range strings.SplitAfterSeq(string(data), "\n") {
		t := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(t, "type:"):
			args = strings.Contains(t, "MODINFO_ARGS")
		case strings.HasPrefix(t, "value:") && args:
			line = "\tvalue:\t" + redactedText + "\n"
		default:
			line = preloadAddress.ReplaceAllString(line, "0x0")
		}
		out.WriteString(line)
	}
	return []byte(out.String())
}

// assignment is a line of a configuration file: indentation, name, "=", the value and the rest.
var assignment = lazy.Regexp{Pattern: `^(\s*(?:export\s+)?)([^\s=#]+)\s*=(.*?)(\r?\n?)$`}

// isPlain reports whether a line of a script is one assignment, which loads nothing.
func isPlain(line string) bool {
	return rcconf.IsPlain(line) && !mentionsLoad(rcconf.Uncomment(line, nil))
}

// loadCommand is a line of a script that loads klds and does nothing else.
var loadCommand = lazy.Regexp{Pattern: `^\s*(?:/sbin/)?(?:kldload|load_kld)(?:\s+-[nqv]+)*(?:\s+[\w./][\w./-]*)+\s*$`}

// redactSettings removes the values of the settings that no decoder reads, and comments. In a script, a line is removed
// whole that is not one assignment, unless it loads klds.
func redactSettings(data []byte, script bool) []byte {
	var out strings.Builder
	for line := range strings.SplitAfterSeq(string(data), "\n") {
		m := assignment.FindStringSubmatch(line)
		switch {
		case m == nil && strings.HasPrefix(strings.TrimSpace(line), "#"):
			out.WriteString("#\n")
		case script && loadCommand.MatchString(line):
			out.WriteString(line)
		case m == nil && strings.TrimSpace(line) != "", script && m != nil && !isPlain(line):
			out.WriteString("# " + redactedText + "\n")
		case m == nil || readsSetting(m[2]):
			out.WriteString(line)
		case m[2] == "exec" && !commandLoads(m[3]):
			out.WriteString(m[1] + `exec="."` + m[4]) // a command that loads nothing
		default:
			out.WriteString(m[1] + m[2] + `="` + redactedText + `"` + m[4])
		}
	}
	return []byte(out.String())
}

// redactSysctl keeps of sysctl.conf(5) what bears on klds.
func redactSysctl(data []byte) []byte {
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		switch name, value := sysctlLine(line); {
		case name == sysctlSecureLevel, name == sysctlModulePath:
			out.WriteString(name + "=" + value + "\n")
		case name != "":
			out.WriteString("# " + redactedText + "\n")
		default:
			out.WriteString("#\n")
		}
	}
	return []byte(out.String())
}

// readsSetting reports whether some decoder uses the setting.
func readsSetting(name string) bool {
	for _, suffix := range []string{"_load", "_name", "_type", ".disabled"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	switch name {
	case "module_blacklist", "module_path", "default_kernel", "kernel", "kernels", "bootfile",
		"loader_conf_files", "loader_conf_dirs", "product_vars",
		"local_loader_conf_files", "kld_list", "kern_securelevel", "kern_securelevel_enable", "devmatch_enable",
		"devmatch_blocklist", "devmatch_blacklist", "rc_conf_files", "local_startup", "cloned_interfaces",
		"network_interfaces", "gif_interfaces", "saver", "firewall_script",
		"firewall_coscripts", "firstboot_sentinel", "nextboot_conf", "nextboot_enable":
		return true
	}
	return strings.HasSuffix(name, "_enable")
}

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string { return []string{"addresses", "arguments", "settings"} }

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool {
	return strings.HasPrefix(key, OpKldStat+" ") || key == OpSysctl+" "+sysctlPreloaded || isConf(key) ||
		isHook(key) || isLoaderScript(key)
}

// isConf reports whether the key is a configuration file's path.
func isConf(key string) bool {
	name := fileName(key)
	switch {
	case strings.HasPrefix(key, "boot/"):
		return strings.Contains(name, ".conf") || name == "device.hints"
	case strings.HasPrefix(key, "etc/"), strings.HasPrefix(key, "usr/local/etc/"):
		return true
	}
	return false
}
