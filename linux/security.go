// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

func (r *policyReader) lsm() {
	value, err := r.attr(lsmFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = notMounted("securityfs")
		}
		r.unknown(FactLSM, SourceSecurity, lsmFile, "", err)
		return
	}
	for name := range strings.SplitSeq(value, ",") {
		r.loadPinOn = r.loadPinOn || name == "loadpin"
	}
	r.add(fact.PolicyFact{Name: FactLSM, Value: value, Effect: "the active security modules", Source: SourceSecurity,
		File: slash(lsmFile)})
}

func (r *policyReader) loadPin() {
	for _, file := range []string{loadPinFile, loadPinParameter, loadPinOldParameter} {
		value, err := r.attr(file)
		if err != nil {
			continue
		}
		effect := "modules load from any file system"
		switch {
		case value != "1" && value != "Y":
		case excludesModules(r.Entry.Words):
			effect = "modules load from any file system: loadpin.exclude= on the command line names them"
		default:
			effect = "modules load only from the file system that the first one came from"
			r.pinned = file
		}
		source := SourceSysModule
		if file == loadPinFile {
			source = SourceSysctl
		}
		r.add(fact.PolicyFact{Name: FactLoadPin, Value: value, Effect: effect, Source: source, File: slash(file)})
		return
	}
	_, err := r.attr(loadPinFile)
	effect := ""
	if errors.Is(err, fs.ErrNotExist) && (r.hasSecurityFS() && !r.loadPinOn || r.is("CONFIG_SECURITY_LOADPIN", "n")) {
		effect = "LoadPin is not active"
	}
	r.unknown(FactLoadPin, SourceSysctl, loadPinFile, effect, err)
}

// ima looks for a rule that appraises modules. Most kernels let nobody read the policy.
func (r *policyReader) ima() {
	text, err := limit.AppendFile(r.FS, nil, imaPolicyFile, limit.Proc)
	if err != nil {
		effect := ""
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			effect = "only a kernel with CONFIG_IMA_READ_POLICY shows its rules, to root"
		case r.is("CONFIG_IMA_APPRAISE", "n"), r.hasSecurityFS():
			r.appraised, effect = fact.No, "IMA appraises no modules"
		}
		r.unknown(FactIMAAppraise, SourceSecurity, imaPolicyFile, effect, err)
		return
	}
	rule, line := moduleAppraisal(string(text))
	f := fact.PolicyFact{Name: FactIMAAppraise, Value: "no rule", Effect: "IMA appraises no modules",
		Source: SourceSecurity, File: slash(imaPolicyFile)}
	r.appraised = fact.No
	if rule != "" {
		r.appraised, r.appraisedLine = fact.Yes, line
		f.Value, f.Line, f.Effect = rule, line, "a module file that IMA does not appraise is refused"
	}
	r.add(f)
}

// moduleAppraisal returns the first rule of an IMA policy that appraises module files, and its
// line; "" if no rule does. A rule without a function is about files of every use, and one of
// FILE_CHECK about every file that is opened.
func moduleAppraisal(policy string) (rule string, line int) {
	for text := range strings.Lines(policy) {
		line++
		words := strings.Fields(text)
		if len(words) == 0 || words[0] != "appraise" {
			continue
		}
		use := ""
		for _, w := range words[1:] {
			if name, ok := strings.CutPrefix(w, "func="); ok {
				use = name
			}
		}
		switch use {
		case "", "MODULE_CHECK", "FILE_CHECK":
			return strings.TrimSpace(text), line
		}
	}
	return "", 0
}

// efiVarsDir is where the firmware's variables are mounted.
const efiVarsDir = "sys/firmware/efi/efivars"

const (
	efiGlobal = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	shimGUID  = "605dab50-e046-4300-abb6-3dd810dd8b23"
)

// The files of the variables that say whether the firmware, and shim, verify what they start.
const (
	secureBootVar     = efiVarsDir + "/SecureBoot-" + efiGlobal
	setupModeVar      = efiVarsDir + "/SetupMode-" + efiGlobal
	mokSBStateVar     = efiVarsDir + "/MokSBStateRT-" + shimGUID
	mokListTrustedVar = efiVarsDir + "/MokListTrustedRT-" + shimGUID
)

// parseEFIByte reads a variable of one byte in the form of efivarfs: four bytes of attributes,
// then the value.
func parseEFIByte(b []byte) (byte, error) {
	if len(b) != 5 {
		return 0, &fact.ParseError{Source: efiVarsDir, Reason: "has " + strconv.Itoa(len(b)) +
			" bytes, not four of attributes and one of value"}
	}
	return b[4], nil
}

func (r *policyReader) secureBoot() {
	r.efiByte(FactSecureBoot, secureBootVar, "the firmware verifies the boot loader", "the firmware starts anything")
	r.efiByte(FactSetupMode, setupModeVar, "the firmware's keys may be replaced: Secure Boot holds nothing",
		"the firmware's keys are fixed")
	r.efiByte(FactMokSBState, mokSBStateVar, "shim's validation is switched off: the kernel takes Secure Boot for off",
		"shim validates")
	r.efiByte(FactMokListTrusted, mokListTrustedVar, "the owner's keys (MOK) may go to the keyring .machine",
		"the owner's keys (MOK) are not trusted for modules")
}

func (r *policyReader) efiByte(name, file, on, off string) {
	b, err := limit.AppendAttr(r.FS, nil, file, limit.Attr)
	var value byte
	if err == nil {
		value, err = parseEFIByte(b)
	}
	if err != nil {
		effect, err := r.noEFI(name, err)
		r.unknown(name, SourceEFI, file, effect, err)
		return
	}
	switch {
	case name == FactSecureBoot:
		r.secureBooted = fact.TriOf(value == 1)
	case value == 1 && (name == FactSetupMode || name == FactMokSBState):
		r.secureBooted = fact.No // the kernel takes it so
	}
	f := fact.PolicyFact{Name: name, Value: strconv.Itoa(int(value)), Effect: off, Source: SourceEFI, File: slash(file)}
	if value == 1 {
		f.Effect = on
	}
	r.add(f)
}

// noEFI says why a variable is missing, and gives the error that leaves it open, if one does.
func (r *policyReader) noEFI(name string, err error) (string, error) {
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	entries, dirErr := fs.ReadDir(r.FS, efiVarsDir)
	switch {
	case dirErr == nil && len(entries) > 0 && (name == FactMokSBState || name == FactMokListTrusted):
		return "not set by shim", err
	case dirErr == nil && len(entries) > 0:
		return "the firmware has no such variable", err
	}
	_, efiErr := fs.Stat(r.FS, "sys/firmware/efi")
	if efiErr == nil {
		return "", notMounted("efivarfs")
	}
	_, sysErr := fs.Stat(r.FS, "sys/firmware")
	switch {
	case !errors.Is(efiErr, fs.ErrNotExist):
		return "", efiErr
	case sysErr != nil:
		return "", sysErr
	}
	if name == FactSecureBoot {
		r.secureBooted = fact.No
	}
	return "not started by EFI, or EFI's runtime services are off", err
}
