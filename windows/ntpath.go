// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// ntPaths is what a machine needs to turn the kernel's paths into a user's.
type ntPaths struct {
	// SystemRoot is the Windows folder, such as C:\Windows; empty when unknown.
	SystemRoot string
	// Devices are the drives by their device, folded to lower case: \device\harddiskvolume3 → C:.
	Devices map[string]string
	// Sysnative says that the reader is a 32-bit program on a 64-bit system, which finds the true
	// System32 under that name.
	Sysnative bool
	// Long are the long forms of paths with short names in them (C:\PROGRA~1\…), by the path folded to
	// lower case. What is not in it is taken as it is.
	Long map[string]string
}

// hasShortName reports whether a path may have short names in it: they have a tilde.
func hasShortName(dos string) bool { return strings.Contains(dos, "~") }

// longPath returns the long form of a path, if it is known.
func (p ntPaths) longPath(dos string) string {
	if long, ok := p.Long[fold(dos)]; ok {
		return long
	}
	return dos
}

// parsePaths reads the answer to OpPaths.
func parsePaths(b []byte) (ntPaths, error) {
	p := ntPaths{Devices: map[string]string{}}
	for i, line := range strings.Split(string(b), "\n") {
		key, rest, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		switch key {
		case "":
		case "systemroot":
			p.SystemRoot = strings.TrimRight(rest, `\`)
			if rest != "" && !isDrivePath(p.SystemRoot) {
				return p, pathsError(i, "the Windows folder %q is not on a drive", rest)
			}
		case "sysnative":
			p.Sysnative = rest == "yes"
		case "device":
			drive, dev, ok := strings.Cut(rest, " ")
			if !ok || len(p.Devices) >= 64 {
				return p, pathsError(i, "not a drive and its device")
			}
			p.Devices[fold(dev)] = drive
		default:
			return p, pathsError(i, "unknown key %q", key)
		}
	}
	return p, nil
}

// pathsError returns an error of the line i, from 0, of the answer to OpPaths.
func pathsError(i int, format string, args ...any) error {
	return &fact.ParseError{Source: SourceMachine, Field: "paths", Line: i + 1, Reason: fmt.Sprintf(format, args...)}
}

// fold is how names are compared: Windows ignores case.
func fold(s string) string { return strings.ToLower(s) }

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// indexFold returns where sub, in ASCII, begins in s in whatever case; -1 if it does not. An offset in fold(s) is not
// an offset in s, because lower case may have more bytes.
func indexFold(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}

// dos turns an NT path into a DOS path: \SystemRoot\…, \??\C:\…, \DosDevices\C:\…,
// \??\UNC\server\…, \??\GLOBALROOT\Device\…, \Device\HarddiskVolumeN\…; a bare file name is that of
// a driver that the boot loader of an older Windows took from System32\drivers. The error says what
// is missing.
func (p ntPaths) dos(nt string) (string, error) {
	switch {
	case hasFoldPrefix(nt, `\SystemRoot\`):
		if p.SystemRoot == "" {
			return "", noPath("the Windows folder is not known")
		}
		return p.SystemRoot + nt[len(`\SystemRoot`):], nil
	case hasFoldPrefix(nt, `\??\`):
		return p.dosName(nt[len(`\??\`):])
	case hasFoldPrefix(nt, `\DosDevices\`):
		return p.dosName(nt[len(`\DosDevices\`):])
	case hasFoldPrefix(nt, `\GLOBAL??\`):
		return p.dosName(nt[len(`\GLOBAL??\`):])
	case hasFoldPrefix(nt, `\Device\`):
		return p.device(nt)
	case isDrivePath(p.SystemRoot) && hasFoldPrefix(nt, p.SystemRoot[2:]+`\`):
		// The boot loader names early images from the root of the boot volume.
		return p.SystemRoot[:2] + nt, nil
	case isDrivePath(nt):
		return nt, nil
	case nt != "" && !strings.ContainsAny(nt, `\/:`) && p.SystemRoot != "":
		return p.SystemRoot + `\System32\drivers\` + nt, nil
	}
	return "", fmt.Errorf("%w: %q is not a path of a known form", fact.ErrMalformed, nt)
}

// dosName reads the text after \??\: a drive, or a name that leads elsewhere.
func (p ntPaths) dosName(s string) (string, error) {
	if hasFoldPrefix(s, `GLOBALROOT\`) {
		return p.dos(s[len(`GLOBALROOT`):])
	}
	if hasFoldPrefix(s, `Volume{`) {
		return "", noPath(fmt.Sprintf("no drive letter is known for %q", s))
	}
	if hasFoldPrefix(s, `UNC\`) {
		return `\\` + s[len(`UNC\`):], nil
	}
	if isDrivePath(s) {
		return s, nil
	}
	return "", fmt.Errorf("%w: %q names no drive", fact.ErrMalformed, s)
}

// noPath is the error of a path that leads to no file because the machine did not say what is needed.
type noPath string

func (e noPath) Error() string { return string(e) }

func (noPath) Unwrap() error { return fact.ErrUnrecorded }

// errShortName is the error of a file that an image does not have by a path with a short name.
const errShortName noPath = "what a short name in the path stands for is not known of an image"

// queried returns the DOS path of a path that a caller gives: one of the forms that an image path may have, one below
// System32, or one as the file system has it.
func (p ntPaths) queried(query string) (string, error) {
	s := strings.ReplaceAll(query, "/", `\`)
	for _, prefix := range []string{`\SystemRoot\`, `\??\`, `\\`, `\DosDevices\`, `\GLOBAL??\`, `\Device\`,
		`%SystemRoot%\`, `%windir%\`, `System32\`} {
		if hasFoldPrefix(s, prefix) {
			_, dos, err := p.resolveCleaned("", s)
			return dos, err
		}
	}
	return dosPath(query), nil
}

func (p ntPaths) device(nt string) (string, error) {
	if hasFoldPrefix(nt, `\Device\Mup\`) {
		return `\\` + nt[len(`\Device\Mup\`):], nil
	}
	// The device is the part up to the third separator.
	if i := strings.IndexByte(nt[len(`\Device\`):], '\\'); i >= 0 {
		end := len(`\Device\`) + i
		if drive, ok := p.Devices[fold(nt[:end])]; ok {
			return drive + nt[end:], nil
		}
	}
	return "", noPath(fmt.Sprintf("no drive letter is known for %q", nt))
}

func isDrivePath(s string) bool {
	return len(s) >= 3 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') && isLetter(s[0])
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// file turns a DOS path into the name of the file in the machine's file system; see fsPath.
func (p ntPaths) file(dos string) (string, error) {
	system32 := p.SystemRoot + `\System32\`
	if p.Sysnative && p.SystemRoot != "" && hasFoldPrefix(dos, system32) {
		dos = p.SystemRoot + `\Sysnative\` + dos[len(system32):]
	}
	return fsPath(dos)
}

// fsPath turns a DOS path into a path of a machine's file system (C:/Windows/…). It returns an error for a name that a
// file system cannot have, a UNC path, a stream or a device.
func fsPath(dos string) (string, error) {
	if !isDrivePath(dos) {
		return "", fmt.Errorf("%w: %q is not on a drive", fact.ErrMalformed, dos)
	}
	rest := strings.ReplaceAll(dos[2:], `\`, "/")
	name := strings.ToUpper(dos[:1]) + ":" + strings.TrimRight(rest, "/")
	if !fs.ValidPath(name) || strings.ContainsAny(rest, "\x00:*?\"<>|") {
		return "", fmt.Errorf("%w: %q is not a valid file name", fact.ErrMalformed, dos)
	}
	return name, nil
}
