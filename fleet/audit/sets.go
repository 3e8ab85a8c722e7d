// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// A benchmark is a list of modules that a published benchmark does not want, with the numbers of its sections.
type benchmark struct {
	name, title, version string
	check                Check
	modules              []section
}

// A section is one entry of a benchmark.
type section struct {
	id, module string
	level      string // the benchmark's own word: level 1, level 2, or a severity
}

// benchmarks are the lists, each of one version of its benchmark.
var benchmarks = []*benchmark{&cisDebian12, &cisUbuntu2204, &cisUbuntu2404, &cisRHEL9, &cisRHEL10, &stigRHEL9}

var cisDebian12 = benchmark{"cis-debian-12", "CIS Debian Linux 12 Benchmark", "1.1.0", CheckShowConfig,
	[]section{
		{"1.1.1.1", "cramfs", "1"}, {"1.1.1.2", "freevxfs", "1"}, {"1.1.1.3", "hfs", "1"}, {"1.1.1.4", "hfsplus", "1"},
		{"1.1.1.5", "jffs2", "1"}, {"1.1.1.6", "overlay", "2"}, {"1.1.1.7", "squashfs", "2"}, {"1.1.1.8", "udf", "2"},
		{"1.1.1.9", "usb-storage", "1"},
		{"3.2.1", "dccp", "2"}, {"3.2.2", "tipc", "2"}, {"3.2.3", "rds", "2"}, {"3.2.4", "sctp", "2"},
	}}

var cisUbuntu2204 = benchmark{"cis-ubuntu-22.04", "CIS Ubuntu Linux 22.04 LTS Benchmark", "2.0.0", CheckCIS, []section{
	{"1.1.1.1", "cramfs", "1"}, {"1.1.1.2", "freevxfs", "1"}, {"1.1.1.3", "hfs", "1"}, {"1.1.1.4", "hfsplus", "1"},
	{"1.1.1.5", "jffs2", "1"}, {"1.1.1.6", "squashfs", "2"}, {"1.1.1.7", "udf", "2"}, {"1.1.1.8", "usb-storage", "1"},
	{"3.2.1", "dccp", "2"}, {"3.2.2", "tipc", "2"}, {"3.2.3", "rds", "2"}, {"3.2.4", "sctp", "2"},
}}

var cisUbuntu2404 = benchmark{"cis-ubuntu-24.04", "CIS Ubuntu Linux 24.04 LTS Benchmark", "1.0.0", CheckShowConfig,
	[]section{
		{"1.1.1.1", "cramfs", "1"}, {"1.1.1.2", "freevxfs", "1"}, {"1.1.1.3", "hfs", "1"}, {"1.1.1.4", "hfsplus", "1"},
		{"1.1.1.5", "jffs2", "1"}, {"1.1.1.6", "overlay", "2"}, {"1.1.1.7", "squashfs", "2"}, {"1.1.1.8", "udf", "2"},
		{"1.1.1.9", "usb-storage", "1"},
		{"3.2.1", "dccp", "2"}, {"3.2.2", "tipc", "2"}, {"3.2.3", "rds", "2"}, {"3.2.4", "sctp", "2"},
	}}

var cisRHEL9 = benchmark{"cis-rhel-9", "CIS Red Hat Enterprise Linux 9 Benchmark", "2.0.0", CheckShowConfigBin,
	[]section{
		{"1.1.1.1", "cramfs", "1"}, {"1.1.1.2", "freevxfs", "1"}, {"1.1.1.3", "hfs", "1"}, {"1.1.1.4", "hfsplus", "1"},
		{"1.1.1.5", "jffs2", "1"}, {"1.1.1.6", "squashfs", "2"}, {"1.1.1.7", "udf", "2"},
		{"1.1.1.8", "usb-storage", "1"},
		{"3.2.1", "dccp", "2"}, {"3.2.2", "tipc", "2"}, {"3.2.3", "rds", "2"}, {"3.2.4", "sctp", "2"},
	}}

var cisRHEL10 = benchmark{"cis-rhel-10", "CIS Red Hat Enterprise Linux 10 Benchmark", "1.0.1", CheckShowConfig,
	[]section{
		{"1.1.1.1", "cramfs", "1"}, {"1.1.1.2", "freevxfs", "1"}, {"1.1.1.3", "hfs", "1"}, {"1.1.1.4", "hfsplus", "1"},
		{"1.1.1.5", "jffs2", "1"}, {"1.1.1.6", "overlay", "2"}, {"1.1.1.7", "squashfs", "2"}, {"1.1.1.8", "udf", "2"},
		{"1.1.1.9", "firewire-core", "1"}, {"1.1.1.10", "usb-storage", "1"},
		{"3.2.1", "atm", "1"}, {"3.2.2", "can", "1"}, {"3.2.3", "dccp", "1"}, {"3.2.4", "tipc", "1"},
		{"3.2.5", "rds", "1"},
		{"3.2.6", "sctp", "1"},
	}}

var stigRHEL9 = benchmark{"stig-rhel-9", "Red Hat Enterprise Linux 9 STIG", "V2R9", CheckOVAL, []section{
	{"RHEL-09-213045", "atm", "medium"}, {"RHEL-09-213050", "can", "medium"},
	{"RHEL-09-213055", "firewire-core", "medium"}, {"RHEL-09-213060", "sctp", "medium"},
	{"RHEL-09-213065", "tipc", "medium"}, {"RHEL-09-231195", "cramfs", "low"},
	{"RHEL-09-291010", "usb-storage", "medium"}, {"RHEL-09-291035", "bluetooth", "medium"},
}}

// Sets returns the names of the rule sets that come with this package.
func Sets() []string {
	names := make([]string, len(benchmarks))
	for i, b := range benchmarks {
		names[i] = b.name
	}
	return names
}

// Set returns the rule set of that name, which the caller may change. The error matches fs.ErrNotExist and names the
// sets that there are.
func Set(name string) (*Rules, error) {
	for _, b := range benchmarks {
		if b.name == name {
			return b.rules(), nil
		}
	}
	return nil, fmt.Errorf("audit: no rule set %q (%s): %w", name, strings.Join(Sets(), ", "), fs.ErrNotExist)
}

func (b *benchmark) rules() *Rules {
	r := &Rules{Name: b.name, Title: b.title, Version: b.version}
	for _, s := range b.modules {
		rule := Rule{ID: b.name + ":" + s.id, Kind: MustNotLoad, Title: s.module + " is not available",
			Severity: Medium, OS: []lkm.OS{fact.Linux}, Modules: []string{s.module}, Check: b.check,
			References: []string{b.title + " " + b.version + " " + s.id, "ATT&CK T1547.006"}}
		switch s.level {
		case "1":
			rule.References[0] += " (level 1)"
		case "2":
			rule.References[0] += " (level 2)"
		default:
			rule.Severity = Severity(s.level)
		}
		r.Rules = append(r.Rules, rule)
	}
	return r
}
