// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"path"
	"strings"

	text "github.com/kernelext/kernelext/internal/capture"
)

// A use says what a file of an archive is read for.
type use int

const (
	useNot      use = iota
	useKind         // a capture of a known kind
	useTry          // perhaps a capture
	useSections     // a file of supportconfig: many captures
	useRelease      // what uname -a printed
	useVersion      // /proc/version
	useTainted      // /proc/sys/kernel/tainted
	useBoot         // /proc/sys/kernel/random/boot_id
	useFill         // a part of a list: it says more of the modules that another capture lists
	useSys          // a file below sys/module
)

// What is a file of an archive, by its name.
type what struct {
	use    use
	kind   Kind
	folder string // of the machine
}

// most is how much of the file is read, in bytes.
func (w what) most() int64 {
	switch w.use {
	case useRelease, useVersion, useTainted, useBoot, useSys:
		return 4096
	case useTry:
		return 4 << 20
	}
	return text.Max
}

// A known file is one that a collector makes, by the end of its path; "*" stands for any rest of the last part.
type knownFile struct {
	path string
	use  use
	kind Kind
}

// knownFiles are those of sosreport, UAC and of a root's own files.
func knownFiles() []knownFile {
	return []knownFile{
		{"proc/modules", useKind, ProcModules},
		{"sos_commands/kernel/lsmod", useKind, Lsmod},
		{"sos_commands/kernel/modinfo_*", useKind, LinuxModinfo},
		{"sos_commands/kernel/dkms_status", useKind, DKMSStatus},
		{"sos_commands/pci/lspci_-nnvv", useKind, LspciK},
		{"sos_commands/kernel/uname_-a", useRelease, ""},
		{"proc/version", useVersion, ""},
		{"proc/sys/kernel/tainted", useTainted, ""},
		{"proc/sys/kernel/random/boot_id", useBoot, ""},
		{"live_response/system/lsmod.txt", useKind, Lsmod},
		{"live_response/system/kldstat*", useKind, Kldstat},
		{"live_response/system/kextstat*", useKind, Kextstat},
		{"live_response/system/uname_-a.txt", useRelease, ""},
		{"live_response/system/cat_proc_sys_kernel_tainted.txt", useTainted, ""},
		{"live_response/system/modules_tainting_the_kernel.txt", useFill, ProcModules}, // grep "(.*)" /proc/modules
	}
}

// rootFolders are folders of a machine's root: what lies in another of their files is not a capture.
var rootFolders = [...]string{"etc", "proc", "sys", "var", "usr", "lib", "lib64", "boot", "run", "opt", "home", "root",
	"dev", "sos_commands", "sos_logs", "sos_reports", "sos_strings", "[root]", "Windows", "Users", "System", "Library"}

// textEndings are those of files that may be captures.
var textEndings = [...]string{"", ".txt", ".log", ".out", ".csv", ".json", ".jsonl", ".xml", ".reg", ".md", ".ips",
	".panic", ".tsv"}

// whatIs returns what a file is read for, by its name.
func whatIs(name string) what {
	for _, k := range knownFiles() {
		if folder, ok := folderOf(name, k.path); ok {
			return what{k.use, k.kind, folder}
		}
	}
	parts := strings.Split(name, "/")
	n := len(parts)
	if n >= 4 && parts[n-4] == "sys" && parts[n-3] == "module" && (parts[n-1] == "version" ||
		parts[n-1] == "srcversion" || parts[n-1] == "taint") {
		return what{useSys, "", strings.Trim(strings.TrimSuffix(strings.Join(parts[:n-4], "/"), "[root]"), "/")}
	}
	folder := path.Dir(name)
	if folder == "." {
		folder = ""
	}
	if strings.HasPrefix(path.Base(folder), "scc_") && path.Ext(name) == ".txt" {
		return what{useSections, "", folder}
	}
	for _, p := range parts[:n-1] {
		for _, root := range rootFolders {
			if p == root {
				return what{}
			}
		}
	}
	if i := strings.Index(name+"/", "live_response/"); i >= 0 {
		folder = strings.TrimSuffix(name[:i], "/")
	} else if n > 4 {
		return what{}
	}
	for _, e := range textEndings {
		if strings.EqualFold(path.Ext(name), e) || e == "" && !strings.Contains(parts[n-1], ".") {
			return what{useTry, "", folder}
		}
	}
	return what{}
}

// folderOf returns the machine's folder, if a name ends in the path of a known file.
func folderOf(name, known string) (string, bool) {
	rest, open := strings.CutSuffix(known, "*")
	i := strings.LastIndex("/"+name, "/"+rest)
	if i < 0 || !open && i+len(rest) != len(name) || strings.Contains(name[i+len(rest):], "/") {
		return "", false
	}
	folder := strings.TrimSuffix(name[:i], "/")
	if b := path.Base(folder); b == "[root]" {
		folder = strings.TrimSuffix(strings.TrimSuffix(folder, "[root]"), "/")
	}
	return folder, true
}

// A section is what a command printed, in a file of supportconfig.
type section struct {
	use  use
	kind Kind
	text string
}

// sections splits a file of supportconfig: "#==[ Command ]===#", a line with the command after "# ", and what it
// printed.
func sections(s string) []section {
	var list []section
	for part := range strings.SplitSeq("\n"+s, "\n#==[ ") {
		title, rest, _ := strings.Cut(part, "\n")
		command, body, _ := strings.Cut(rest, "\n")
		command, ok := strings.CutPrefix(command, "# ")
		if !ok || !strings.HasPrefix(title, "Command ]") && !strings.HasPrefix(title, "Configuration File ]") {
			continue
		}
		words := strings.Fields(command)
		if len(words) == 2 && path.Base(words[0]) == "uname" && words[1] == "-a" {
			list = append(list, section{use: useRelease, text: body})
			continue
		}
		if len(words) == 0 || len(list) >= maxTried {
			continue
		}
		if text.Filters(command, true, []string{path.Base(words[0])}, nil) != "" {
			continue
		}
		kind := Kind("")
		switch base := path.Base(words[0]); {
		case base == "lsmod":
			kind = Lsmod
		case base == "modinfo":
			kind = LinuxModinfo
		case base == "dkms":
			kind = DKMSStatus
		case strings.HasSuffix(command, "/proc/modules"):
			kind = ProcModules
		default:
			continue
		}
		list = append(list, section{useKind, kind, strings.TrimRight(body, "\n") + "\n"})
	}
	return list
}
