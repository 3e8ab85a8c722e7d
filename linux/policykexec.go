// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// The files of kexec, which starts another kernel without the firmware (Documentation/ABI/testing/sysfs-kernel-kexec,
// Documentation/admin-guide/sysctl/kernel.rst).
const (
	kexecFile      = "sys/kernel/kexec_loaded"
	kexecCrashFile = "sys/kernel/kexec_crash_loaded"
	kexecOffFile   = "proc/sys/kernel/kexec_load_disabled"
)

// kexecFacts are the policy's facts about kexec: what 0 and 1 mean.
var kexecFacts = [...]struct{ name, source, file, zero, one string }{
	{FactKexecLoaded, SourceKexec, kexecFile, "no other kernel is loaded",
		"another kernel is loaded: the next reboot may start it, with a command line that cannot be read"},
	{FactKexecCrash, SourceKexec, kexecCrashFile, "no crash kernel is loaded",
		"a crash kernel is loaded: it is started when this kernel panics"},
	{FactKexecDisabled, SourceSysctl, kexecOffFile, "root may load another kernel, unless it has to be signed",
		"no other kernel can be loaded until the next boot"},
}

// kexec adds what the running kernel says of other kernels that it may start.
func (r *policyReader) kexec() {
	for _, f := range kexecFacts {
		value, err := r.attr(f.file)
		effect := ""
		switch {
		case errors.Is(err, fs.ErrNotExist) && r.is("CONFIG_KEXEC_CORE", "n") && r.is("CONFIG_KEXEC", "n"):
			effect = "this kernel starts no other one"
		case err == nil && value != "0" && value != "1":
			err = &fact.ParseError{Source: slash(f.file), Reason: "is " + escape.Text(value)}
		}
		if err != nil {
			r.unknown(f.name, f.source, f.file, effect, err)
			continue
		}
		effect = f.zero
		if value == "1" {
			effect = f.one
		}
		r.add(fact.PolicyFact{Name: f.name, Value: value, Effect: effect, Source: f.source, File: slash(f.file)})
	}
}
