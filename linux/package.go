// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// The package managers whose lists are read.
const (
	managerDpkg   = "dpkg"
	managerOpkg   = "opkg"
	managerApk    = "apk"
	managerPacman = "pacman"
)

// Where dpkg keeps the lists of its packages' files, and what it says of each package: deb822 stanzas (dpkg(1)).
const (
	dpkgDir    = "var/lib/dpkg/info"
	dpkgStatus = "var/lib/dpkg/status"
)

// A packageInfo is a package that owns a module file.
type packageInfo struct {
	*fact.Package
	described bool // its stanza was found
}

// PackageOf returns the package that owns a file, a path below the machine's root. It is nil if that is unknown, and
// has no name if every list was read and none names the file.
func (o *fileOwners) PackageOf(file string) *fact.Package {
	if o == nil {
		return nil
	}
	if name := o.Package(file); name != "" {
		return o.details[name].Package
	}
	if o.HasPackages && o.whole {
		return new(fact.Package)
	}
	return nil
}

// readStatus adds the versions and architectures of dpkg's packages that own module files.
func (o *ownersReader) readStatus() {
	wanted := false
	for _, p := range o.details {
		wanted = wanted || p.Manager == managerDpkg
	}
	if !wanted {
		return
	}
	text, err := limit.ReadFile(o.fsys, dpkgStatus, maxPackageBytes/16)
	if fact.CodeOf(err) == fact.CodeAbsent {
		return
	}
	if err != nil {
		o.report.Problem(SourcePackages, "", "package", err)
		return
	}
	for stanza := range bytes.SplitSeq(text, []byte("\n\n")) {
		o.addStanza(stanza)
	}
}

// addStanza adds what a stanza says of an installed package that owns a module file. Of a package that is installed for
// two architectures it is not known which of them owns it.
func (o *ownersReader) addStanza(stanza []byte) {
	name, status, version, arch := "", "", "", ""
	for line := range bytes.Lines(stanza) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			if p, ok := o.details[escape.UTF8(value)]; !ok || p.Manager != managerDpkg {
				return
			}
			name = escape.UTF8(value)
		case "Status":
			status = value
		case "Version":
			version = escape.UTF8(value)
		case "Architecture":
			arch = escape.UTF8(value)
		}
	}
	p, ok := o.details[name]
	if !ok || !strings.HasSuffix(status, " installed") {
		return
	}
	switch {
	case !p.described:
		p.Version, p.Arch = version, arch
	case p.Arch != arch:
		p.Arch = ""
		if p.Version != version {
			p.Version = ""
		}
	}
	p.described = true
	o.details[name] = p
}
