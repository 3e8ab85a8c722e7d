// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"slices"
	"strings"
)

// Rules by which an ImagePath was resolved: the kernel's own first, then those of user-mode
// tools, which write what the kernel would not find.
const (
	RuleDefault     = "default"     // absent or empty: \SystemRoot\System32\drivers\SERVICE.sys
	RuleRelative    = "relative"    // no leading separator: below \SystemRoot
	RuleSystemRoot  = "system_root" // \SystemRoot\…
	RuleDOSDevice   = "dos_device"  // \??\C:\… or \DosDevices\C:\…
	RuleUNC         = "unc"         // \??\UNC\… or \\server\…
	RuleDevice      = "device"      // \Device\HarddiskVolumeN\…
	RuleEnvironment = "environment" // %NAME%\…, which the kernel takes as relative; only %SystemRoot% is known
	RuleDrive       = "drive"       // C:\…, which the kernel takes as relative
	RuleRooted      = "rooted"      // \… of another kind, which the kernel takes as an NT path
	RuleUnread      = "unread"      // there may be a path: the registry's value could not be read
)

// Marks of an ImagePath that was read leniently.
const (
	MarkQuotes    = "quotes"    // it is in quotes
	MarkArguments = "arguments" // arguments follow the file's name
	MarkSlashes   = "slashes"   // it has slashes for backslashes
	MarkSpaces    = "spaces"    // blanks surrounded it
)

// An imagePath is a service's image path: the raw text and its meaning.
type imagePath struct {
	Raw   string   // the registry's value; empty when absent
	Path  string   // the DOS path; empty if it could not be determined
	Rule  string   // the rule used
	Marks []string // what was put right first
	// Whole is the DOS path with what looks like arguments, if something does: the kernel knows none, and takes the
	// file of that name if there is one.
	Whole string
}

// resolveImagePath reads the ImagePath of a service. The error says why there is no Path.
func (p ntPaths) resolveImagePath(service, raw string) (imagePath, error) {
	r := imagePath{Raw: raw}
	cleaned := r.clean(raw)
	var err error
	r.Rule, r.Path, err = p.resolveCleaned(service, cleaned)
	whole := strings.Trim(raw, " \t")
	if slices.Contains(r.Marks, MarkArguments) && strings.HasPrefix(whole, cleaned) && !strings.HasSuffix(whole, ".") {
		_, r.Whole, _ = p.resolveCleaned(service, whole)
	}
	return r, err
}

// resolveCleaned returns the rule and the DOS path of an ImagePath. The error says why there is no path.
func (p ntPaths) resolveCleaned(service, s string) (rule, path string, err error) {
	switch {
	case s == "":
		rule, s = RuleDefault, `\SystemRoot\System32\drivers\`+service+".sys"
	case hasFoldPrefix(s, `\SystemRoot\`):
		rule = RuleSystemRoot
	case hasFoldPrefix(s, `\??\UNC\`):
		rule = RuleUNC
	case strings.HasPrefix(s, `\\?\`):
		rule, s = RuleDOSDevice, `\??\`+s[len(`\\?\`):]
	case strings.HasPrefix(s, `\\`):
		rule, s = RuleUNC, `\??\UNC\`+s[2:]
	case hasFoldPrefix(s, `\??\`), hasFoldPrefix(s, `\DosDevices\`), hasFoldPrefix(s, `\GLOBAL??\`):
		rule = RuleDOSDevice
	case hasFoldPrefix(s, `\Device\`):
		rule = RuleDevice
	case hasFoldPrefix(s, `%SystemRoot%\`):
		rule, s = RuleEnvironment, `\SystemRoot`+s[len(`%SystemRoot%`):]
	case hasFoldPrefix(s, `%windir%\`):
		rule, s = RuleEnvironment, `\SystemRoot`+s[len(`%windir%`):]
	case s[0] == '%' && strings.Contains(s[1:], `%\`):
		return RuleEnvironment, "", noPath(fmt.Sprintf("what %q stands for is not known", s))
	case isDrivePath(s):
		rule = RuleDrive
	case s[0] == '\\':
		rule = RuleRooted
	default:
		rule, s = RuleRelative, `\SystemRoot\`+s
	}
	path, err = p.dos(s)
	return rule, path, err
}

// clean puts right what the kernel would not accept, noting each.
func (r *imagePath) clean(s string) string {
	if t := strings.Trim(s, " \t"); t != s {
		r.Marks, s = append(r.Marks, MarkSpaces), t
	}
	if strings.HasPrefix(s, `"`) {
		r.Marks = append(r.Marks, MarkQuotes)
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			s = s[1:]
		} else {
			if strings.Trim(s[end+2:], " \t") != "" {
				r.Marks = append(r.Marks, MarkArguments)
			}
			s = s[1 : end+1]
		}
	} else if end := arguments(s); end > 0 {
		r.Marks, s = append(r.Marks, MarkArguments), s[:end]
	}
	if strings.Contains(s, "/") {
		r.Marks, s = append(r.Marks, MarkSlashes), strings.ReplaceAll(s, "/", `\`)
	}
	return s
}

// arguments returns where arguments begin after a file name with a driver's extension; 0 without arguments. A blank by
// itself is part of the path.
func arguments(s string) int {
	for _, ext := range []string{".sys ", ".exe ", ".dll "} {
		if i := indexFold(s, ext); i >= 0 {
			return i + len(ext) - 1
		}
	}
	return 0
}
