// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

func (r *policyReader) lsm() {
	value, err := r.attr(LSMFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = notMounted("securityfs")
		}
		r.unknown(FactLSM, SourceSecurity, LSMFile, "", err)
		return
	}
	for name := range strings.SplitSeq(value, ",") {
		r.loadPinOn = r.loadPinOn || name == "loadpin"
	}
	r.add(fact.PolicyFact{Name: FactLSM, Value: value, Effect: "the active security modules", Source: SourceSecurity, File: slash(LSMFile)})
}

func (r *policyReader) loadPin() {
	for _, file := range []string{LoadPinFile, loadPinParameter, loadPinOldParameter} {
		value, err := r.attr(file)
		if err != nil {
			continue
		}
		effect := "modules load from any file system"
		if value == "1" || value == "Y" {
			effect = "modules load only from the file system that the first one came from"
			r.pinned = file
		}
		source := SourceSysModule
		if file == LoadPinFile {
			source = SourceSysctl
		}
		r.add(fact.PolicyFact{Name: FactLoadPin, Value: value, Effect: effect, Source: source, File: slash(file)})
		return
	}
	_, err := r.attr(LoadPinFile)
	effect := ""
	if errors.Is(err, fs.ErrNotExist) && (r.hasSecurityFS() && !r.loadPinOn || r.is("CONFIG_SECURITY_LOADPIN", "n")) {
		effect = "LoadPin is not active"
	}
	r.unknown(FactLoadPin, SourceSysctl, LoadPinFile, effect, err)
}

// ima looks for a rule that appraises modules. Most kernels let nobody read the policy.
func (r *policyReader) ima() {
	text, err := limit.AppendFile(r.FS, nil, IMAPolicyFile, limit.Proc)
	if err != nil {
		effect := ""
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			effect = "only a kernel with CONFIG_IMA_READ_POLICY shows its rules, to root"
		case r.is("CONFIG_IMA_APPRAISE", "n"), r.hasSecurityFS():
			r.appraised, effect = fact.No, "IMA appraises no modules"
		}
		r.unknown(FactIMAAppraise, SourceSecurity, IMAPolicyFile, effect, err)
		return
	}
	rule, line := moduleAppraisal(string(text))
	f := fact.PolicyFact{Name: FactIMAAppraise, Value: "no rule", Effect: "IMA appraises no modules", Source: SourceSecurity, File: slash(IMAPolicyFile)}
	r.appraised = fact.No
	if rule != "" {
		r.appraised, r.appraisedLine = fact.Yes, line
		f.Value, f.Line, f.Effect = rule, line, "a module file that IMA does not appraise is refused"
	}
	r.add(f)
}

// moduleAppraisal returns the first rule of an IMA policy that appraises module files, and its
// line; "" when there is none. A rule without a function is about files of every use, and one of
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
