// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/linux/boot"
)

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string {
	return []string{"addresses", "command_line", "device_ids", "parameters"}
}

// Redact returns what a recording may keep of an answer: data itself when there is nothing to take
// out, nil when nothing may be kept. key is the file's slash path below the root, or a call's op
// and arguments with spaces between them. It works by lines: of a text in two parts, the first ending in a newline, the
// results are the parts of the whole text's result, but for a line that may appear twice where two parts meet.
//
// What goes:
//   - kernel addresses: those of /proc/modules and /proc/kallsyms become zeros of the same width,
//     section addresses in /sys/module/NAME/sections go as a whole. An address that the kernel
//     itself showed as zero is left, so that a hidden address stays hidden by the kernel.
//   - of /proc/kallsyms and of ftrace's functions, every line without a [module] tag, and all but
//     the first in a row with the same; of dynamic debug's messages, all but the modules, and those
//     likewise; /proc/vmallocinfo as a whole; of /proc/keys, every line that is not
//     about the kernel's own keyrings and certificates; of grub.cfg, all but the commands that start a kernel
//     or go on with another file; of /etc/default/grub, all but the command lines.
//   - values of module parameters, in /sys/module/NAME/parameters, on the command line and in
//     modprobe's configuration, but for those that decoders read for the system's policy.
//   - on the command line, also as boot loaders keep it: every value of a key that no decoder reads
//     becomes boot.RedactedValue, as does a word that is not KEY=VALUE; unified kernel images and initial
//     file systems go as a whole. Keys stay, so that one that a
//     later version reads is known to be set, with a value that is not known.
//   - of fstab, devices and options.
//   - serial numbers, MAC addresses, world wide names and UUIDs of devices, in their own files and
//     in uevent files.
//
// The boot id stays: it changes with each boot and is a part of every Snapshot. So do names of
// devices and module file names.
func Redact(key string, data []byte) []byte {
	if f := redactorOf(key); f != nil {
		return f(data)
	}
	return data
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return redactorOf(key) != nil }

// redactorOf returns what Redact does with answers for key, nil for nothing.
func redactorOf(key string) func([]byte) []byte {
	if f := redactorOfView(key); f != nil {
		return f
	}
	if f := redactorOfBoot(key); f != nil {
		return f
	}
	elems := strings.Split(key, "/")
	n := len(elems)
	parent, base := "", elems[n-1]
	if n > 1 {
		parent = elems[n-2]
	}
	switch {
	case key == ModulesFile:
		return byLine(redactModule)
	case key == keysFile:
		return byLine(redactKey)
	case isGrubConfig(key):
		return redactGrubFile
	case key == boot.GrubDefaults, path.Dir(key) == boot.GrubDefaults+".d":
		return byLine(redactGrubDefaults)
	case isCommandLine(key):
		return byLine(redactCommandLine)
	case isLoaderEntry(key):
		return byLine(redactLoaderEntry)
	case parent == "modprobe.d":
		return byLine(redactConfig)
	case key == "etc/fstab":
		return byLine(redactMount)
	case elems[0] != "sys":
		return nil
	case parent == sectionsDir:
		return redactSection
	case parent == parametersDir && n > 2 && boot.KeepsKey(elems[n-3]+"."+base):
		return nil
	case parent == parametersDir, isDeviceID(elems):
		return redactAll
	case base == "uevent":
		return byLine(redactUevent)
	}
	return nil
}

func redactAll([]byte) []byte { return nil }

func isLoaderEntry(key string) bool {
	switch path.Dir(key) {
	case "boot/loader/entries", "boot/efi/loader/entries", "efi/loader/entries":
		return true
	}
	return false
}

func isCommandLine(key string) bool {
	switch key {
	case "proc/cmdline", "etc/kernel/cmdline", "usr/lib/kernel/cmdline", "etc/cmdline":
		return true
	}
	return path.Dir(key) == boot.CmdlineDir
}

// byLine makes a function for lines one for texts.
func byLine(redact func(line []byte) []byte) func([]byte) []byte {
	return func(data []byte) []byte { return eachLine(data, redact) }
}

// eachLine returns the lines of data, each as redact leaves it; one that becomes empty goes with
// its newline. It returns data itself when no line changes, and never nil for some data.
func eachLine(data []byte, redact func(line []byte) []byte) []byte {
	var out []byte
	changed, done := false, 0 // the first done bytes stay
	for line := range bytes.Lines(data) {
		text := bytes.TrimSuffix(line, []byte("\n"))
		kept := redact(text)
		if !changed && bytes.Equal(kept, text) {
			done += len(line)
			continue
		}
		if !changed {
			changed = true
			out = append(make([]byte, 0, len(data)), data[:done]...)
		}
		if len(kept) > 0 || len(text) == 0 {
			out = append(append(out, kept...), line[len(text):]...)
		}
	}
	if !changed {
		return data
	}
	return out
}

// redactModule zeroes the address of a line of /proc/modules.
func redactModule(line []byte) []byte {
	i := bytes.IndexByte(line, ' ') // what is before it is the name, whatever it looks like
	if i < 0 {
		return line
	}
	var out []byte
	for i < len(line) {
		n := bytes.IndexByte(line[i+1:], ' ')
		end := i + 1 + n
		if n < 0 {
			end = len(line)
		}
		if hex, ok := bytes.CutPrefix(line[i+1:end], []byte("0x")); ok && isAddress(hex) {
			if out == nil {
				out = bytes.Clone(line)
			}
			zero(out[end-len(hex) : end])
		}
		i = end
	}
	if out == nil {
		return line
	}
	return out
}

// isAddress reports whether b is a hexadecimal number other than zero.
func isAddress(b []byte) bool {
	return len(b) > 0 && len(bytes.Trim(b, "0123456789abcdefABCDEF")) == 0 && len(bytes.Trim(b, "0")) > 0
}

func zero(b []byte) {
	for i := range b {
		b[i] = '0'
	}
}

// redactSection keeps a section's address only when the kernel hid it.
func redactSection(data []byte) []byte {
	hex := bytes.TrimPrefix(bytes.TrimSpace(data), []byte("0x"))
	if len(bytes.Trim(hex, "0")) == 0 {
		return data
	}
	return nil
}

// redactCommandLine keeps the words of a kernel command line that decoders read.
func redactCommandLine(line []byte) []byte {
	return redactWords(line, 0)
}

// redactLoaderEntry does the same for the options line of a boot loader entry.
func redactLoaderEntry(line []byte) []byte {
	trimmed := bytes.TrimLeft(line, " \t")
	if !bytes.HasPrefix(trimmed, []byte("options ")) && !bytes.HasPrefix(trimmed, []byte("options\t")) {
		return line
	}
	return redactWords(line, len(line)-len(trimmed)+len("options"))
}

// redactWords goes through the words of line from start on. Words are divided as the kernel does
// it: at white space outside double quotes.
func redactWords(line []byte, start int) []byte {
	out := bytes.Clone(line[:start])
	for i := start; i < len(line); {
		if isSpace(line[i]) {
			out = append(out, line[i])
			i++
			continue
		}
		end := boot.WordEnd(line, i)
		out = append(out, redactWord(string(line[i:end]))...)
		i = end
	}
	return out
}

// redactWord keeps a word whose key is kept, "--" (what follows is for init), and the key of any
// other KEY=VALUE.
func redactWord(word string) string {
	bare := strings.TrimPrefix(word, `"`) // a quote may precede the key
	key, value, hasValue := strings.Cut(bare, "=")
	switch {
	case word == "--", word == boot.RedactedValue, boot.KeepsKey(strings.TrimSuffix(key, `"`)):
		return word
	case hasValue && isKey(key) && value == "":
		return word
	case hasValue && isKey(key):
		return key + "=" + boot.RedactedValue
	}
	return boot.RedactedValue
}

// isKey reports whether s looks like a parameter's name, and not like a part of a value.
func isKey(s string) bool {
	const most = 64
	return s != "" && len(s) <= most &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// redactKey keeps a line of /proc/keys that is about the kernel's own keyrings and certificates;
// the others are users'.
func redactKey(line []byte) []byte {
	k, ok := parseKey(string(line))
	if ok && (k.Type == "keyring" && strings.HasPrefix(k.Description, ".") || strings.HasPrefix(k.Type, "asymm")) {
		return line
	}
	return nil
}

func isGrubConfig(key string) bool {
	if path.Ext(key) != ".cfg" || path.Base(key) == "syslinux.cfg" {
		return false
	}
	return strings.HasPrefix(key, "boot/") || strings.HasPrefix(key, "efi/")
}

// redactGrubDefaults keeps of a line of /etc/default/grub a command line, the words of which are treated as such.
func redactGrubDefaults(line []byte) []byte {
	name, value, ok := bytes.Cut(line, []byte("="))
	if !ok || !bytes.HasPrefix(bytes.TrimSpace(name), []byte("GRUB_CMDLINE_LINUX")) {
		return nil
	}
	quote, value := []byte(nil), bytes.TrimSpace(value)
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		quote, value = value[:1], value[1:n-1]
	}
	return slices.Concat(name, []byte("="), quote, redactWords(value, 0), quote)
}

// noInitrd is the line that a redacted file has if none of its commands names an initial file system. Recordings of
// older versions leave such commands out, so that a redacted file without this line does not say.
const noInitrd = "# no initrd"

// redactGrubFile treats each line, and keeps that no initial file system is named.
func redactGrubFile(data []byte) []byte {
	out := eachLine(data, redactGrub)
	if bytes.Contains(data, []byte("initrd")) || !bytes.Contains(out, []byte("linux")) {
		return out
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(slices.Clip(out), '\n')
	}
	return append(slices.Clip(out), noInitrd+"\n"...)
}

// redactGrub keeps the commands of a line that load a kernel or go on with another file. What is no
// such command and holds no release or default is left out.
func redactGrub(line []byte) []byte {
	if string(line) == noInitrd {
		return line
	}
	commands := boot.KeptOfGrub(string(line))
	if len(commands) == 0 {
		return nil
	}
	trimmed := bytes.TrimLeft(line, " \t")
	if strings.HasPrefix(commands[0], "linux") && bytes.HasPrefix(trimmed, []byte(commands[0])) &&
		len(bytes.TrimSpace(trimmed)) == len(commands[0]) {
		return redactGrubCommand(line, len(line)-len(trimmed))
	}
	for i, command := range commands {
		commands[i] = string(redactGrubCommand([]byte(command), 0))
	}
	return []byte(strings.Join(commands, "; "))
}

// redactGrubCommand treats the words after the file that a command begins with as a command line.
func redactGrubCommand(line []byte, start int) []byte {
	if bytes.HasPrefix(line[start:], []byte("initrd")) {
		return line // names of files, and nothing else
	}
	for left := 2; left > 0; left-- { // the command, and the file
		start = boot.WordEnd(line, start)
		for start < len(line) && isSpace(line[start]) {
			start++
		}
		if bytes.HasPrefix(line[start:], []byte("--")) {
			left++ // an option before the file
		}
	}
	return redactWords(line, start)
}

// redactConfig takes the values out of an "options" line of modprobe's configuration, and of a line
// that may go on with one.
func redactConfig(line []byte) []byte {
	words := bytes.Fields(line)
	if len(words) == 0 || words[0][0] == '#' {
		return line
	}
	switch string(words[0]) {
	case "alias", "blacklist", "install", "remove", "softdep", "weakdep", "include", "config":
		return line
	}
	var out []byte
	for i := 0; i < len(line); {
		end := i + 1
		if !isSpace(line[i]) {
			end = boot.WordEnd(line, i)
		}
		word := line[i:end]
		key, value, ok := bytes.Cut(word, []byte("="))
		switch {
		case !ok || len(value) == 0:
		case isKey(string(key)):
			word = append(bytes.Clone(key), "="+boot.RedactedValue...)
		default: // a quote within the key would open what follows
			word = []byte(boot.RedactedValue)
		}
		out = append(out, word...)
		i = end
	}
	return out
}

// redactUevent takes the value out of a "KEY=value" line that identifies one device.
func redactUevent(line []byte) []byte {
	key, value, ok := bytes.Cut(line, []byte("="))
	if !ok || len(value) == 0 || string(value) == boot.RedactedValue {
		return line
	}
	for word := range strings.SplitSeq(strings.ToUpper(string(key)), "_") {
		switch word {
		case "SERIAL", "UNIQ", "MAC", "WWN", "WWID", "UUID", "EUI", "NGUID", "ADDRESS":
			return append(bytes.Clone(key), "="+boot.RedactedValue...)
		}
	}
	return line
}

// isDeviceID reports whether a file of sysfs holds nothing but what identifies one device.
func isDeviceID(elems []string) bool {
	base := elems[len(elems)-1]
	switch base {
	case "serial", "serial_number", "serial_no", "unique_id", "unique_number", "wwid", "wwn", "wwpn",
		"eui", "nguid", "uuid", "guid", "mac_address", "permanent_address", "perm_addr", "product_serial",
		"product_uuid", "board_serial", "board_asset_tag", "chassis_serial", "chassis_asset_tag",
		"node_guid", "sys_image_guid", "vpd", "vpd_pg80", "vpd_pg83", "cid":
		return true
	case "address", "broadcast":
		return slices.Contains(elems, "net") || slices.Contains(elems, "bluetooth") ||
			slices.Contains(elems, "ieee80211")
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// redactorOfBoot returns what Redact does with a boot loader's file that is neither grub.cfg nor a
// loader entry, nil for nothing. Of unified images and initial file systems nothing is kept: they
// hold command lines, keys and passwords in forms of their own.
func redactorOfBoot(key string) func([]byte) []byte {
	base := path.Base(key)
	if strings.HasPrefix(base, "initr") && strings.Contains(key, "lib/modules/") {
		return redactAll
	}
	if !strings.HasPrefix(key, "boot/") && !strings.HasPrefix(key, "efi/") {
		return nil
	}
	switch {
	case base == "cmdline.txt":
		return byLine(redactCommandLine)
	case base == "grubenv":
		return byLine(redactGrubEnv)
	case base == "extlinux.conf", base == "syslinux.cfg":
		return byLine(redactAppend)
	case strings.HasSuffix(strings.ToLower(base), ".efi"), strings.HasPrefix(base, "initr"):
		return redactAll
	}
	return nil
}

// redactMount keeps of a line of fstab(5) where what is mounted: devices may name other hosts, options may be
// passwords.
func redactMount(line []byte) []byte {
	fields := bytes.Fields(line)
	if len(fields) < 3 || fields[0][0] == '#' {
		return nil
	}
	return slices.Concat([]byte("- "), fields[1], []byte(" "), fields[2])
}

// redactGrubEnv treats the value of a variable as a command line.
func redactGrubEnv(line []byte) []byte {
	i := bytes.IndexByte(line, '=')
	if i < 0 || line[0] == '#' {
		return line
	}
	return redactWords(line, i+1)
}

// redactAppend does the same for the words of an "append" line.
func redactAppend(line []byte) []byte {
	trimmed := bytes.TrimLeft(line, " \t")
	if len(trimmed) < len("append ") || !strings.EqualFold(string(trimmed[:len("append")]), "append") ||
		!isSpace(trimmed[len("append")]) {
		return line
	}
	return redactWords(line, len(line)-len(trimmed)+len("append"))
}

// redactorOfView returns what Redact does with a file that [Kernel.Discrepancies] reads, nil for nothing.
func redactorOfView(key string) func([]byte) []byte {
	switch key {
	case kallsymsFile:
		return oncePerModule(redactSymbol, symbolTag)
	case ftraceFile, ftraceOldFile:
		return oncePerModule(redactFunction, functionTag)
	case ftraceUsedFile, ftraceOldUsedFile:
		return byLine(redactHook)
	case dynamicDebugFile, dynamicDebugProc:
		return oncePerModule(redactDebug, debugTag)
	case vmallocFile:
		return redactAll
	}
	return nil
}

// oncePerModule makes a function for lines one for texts that keeps the first of lines in a row that
// name the same module: there are thousands, and nothing but the name is read from them. A text in
// two parts may keep one line more.
func oncePerModule(redact func(line []byte) []byte, tag func(line []byte) string) func([]byte) []byte {
	return func(data []byte) []byte {
		last := ""
		return eachLine(data, func(line []byte) []byte {
			kept := redact(line)
			t := tag(kept)
			if t != "" && t == last {
				return nil
			}
			last = t
			return kept
		})
	}
}

// redactSymbol keeps a line of /proc/kallsyms that names a module, without its address.
func redactSymbol(line []byte) []byte {
	tag := bytes.LastIndexByte(line, '\t')
	if tag < 0 || !bytes.HasPrefix(line[tag+1:], []byte("[")) {
		return nil
	}
	hex, _, _ := bytes.Cut(line, []byte(" "))
	if !isAddress(hex) {
		return line
	}
	out := bytes.Clone(line)
	zero(out[:len(hex)])
	return out
}

// redactFunction keeps a line of ftrace's functions that names a module.
func redactFunction(line []byte) []byte {
	if functionTag(line) == "" {
		return nil
	}
	return line
}

// redactHook zeroes the addresses in a line of ftrace's functions in use.
func redactHook(line []byte) []byte {
	out := line
	for start := 0; ; {
		i := bytes.Index(line[start:], []byte("0x"))
		if i < 0 {
			return out
		}
		start += i + len("0x")
		end := start + hexLen(line[start:])
		const shortest = 8 // an offset within a function has fewer digits
		if end-start < shortest {
			continue
		}
		if len(out) > 0 && &out[0] == &line[0] {
			out = bytes.Clone(line)
		}
		zero(out[start:end])
	}
}

func hexLen(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "0123456789abcdefABCDEF")) }

// redactDebug keeps the module of a line of dynamic debug's messages, which are thousands.
func redactDebug(line []byte) []byte {
	if len(line) == 0 || line[0] == '#' {
		return line
	}
	tag := debugTag(line)
	if tag == "" {
		return nil
	}
	return []byte("- [" + tag + "]")
}
