// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strconv"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The ways for a module to get into a Linux kernel.
const (
	WayAutoloadAlias = "autoload_alias" // the kernel or udev asks for one of its aliases
	WayAutoloadName  = "autoload_name"  // the kernel asks for it by its own name, as request_module("algif-%s")
	WayUnprivileged  = "unprivileged"   // any process can trigger one of the two; blocked if every known request is
	WayModprobe      = "modprobe"       // root runs modprobe NAME
	WayDependency    = "dependency"     // it comes with a module that needs it, or has it as a softdep
	WayInitramfs     = "initramfs"      // the boot loads a copy before the root is there
	WayInsmod        = "insmod"         // root loads its file directly
)

// The codes of a verdict's reasons, bypasses and triggers.
const (
	ReasonLoaded           = "loaded"            // it is in /proc/modules
	ReasonBuiltin          = "builtin"           // it is compiled in
	ReasonOnDisk           = "on_disk"           // its file
	ReasonNotIndexed       = "not_indexed"       // there is a file that modules.dep does not name
	ReasonFileMissing      = "file_missing"      // modules.dep names a file that is not there
	ReasonBlacklist        = "blacklist"         // a blacklist line that counts
	ReasonBlacklistIgnored = "blacklist_ignored" // a blacklist line that does not stop everything
	ReasonInstall          = "install"           // an install command
	ReasonInstallIgnored   = "install_ignored"   // an install command that does not count
	ReasonAliasOverride    = "alias_override"    // the configuration turns an alias into something else
	ReasonDependency       = "dependency"        // a module that it needs cannot be loaded
	ReasonModuleBlacklist  = "module_blacklist"  // the kernel refuses the name
	ReasonModulesDisabled  = "modules_disabled"  // loading is switched off
	ReasonSetLater         = "set_during_boot"   // a setting that only holds once boot has come so far
	ReasonNoModules        = "no_modules"        // the kernel has no loadable modules
	ReasonUnsigned         = "unsigned"          // unsigned, and the kernel refuses that
	ReasonSigned           = "signed"            // signed, which was verified or not
	ReasonBadSignature     = "bad_signature"     // signed, and the signature does not fit
	ReasonForeignKey       = "foreign_key"       // signed by a key that the kernel does not have
	ReasonRevoked          = "revoked_key"       // signed by a key that is revoked
	ReasonIgnored          = "ignored"           // a line that names the module and does not count
	ReasonKexec            = "kexec"             // another kernel is loaded for the next boot
	ReasonStaged           = "staged"            // a deployment or a snapshot that may be the next root
	ReasonOtherRoot        = "other_root"        // a boot entry that names another root than the one looked at
	ReasonVermagic         = "vermagic"          // its file was built for another kernel
	ReasonSymbolVersion    = "symbol_version"    // its file was built for other symbols than the kernel's
	ReasonMachine          = "machine"           // its file is for another processor
	ReasonForce            = "force"             // root may make the kernel take a file of another one
	ReasonKernelName       = "kernel_name"       // the kernel knows the module by another name than its file's
	ReasonGate             = "other_gate"        // IMA or LoadPin, which may refuse it
	ReasonVolatile         = "gone_after_boot"   // a line below /run
	ReasonInitcall         = "initcall_blacklist"
	ReasonHelper           = "modprobe_helper"      // what the kernel runs instead of modprobe
	ReasonNoSuch           = "no_such_module"       // no source knows the name
	ReasonInitramfs        = "initramfs"            // a copy in the initial file system
	ReasonIgnoreInstall    = "modprobe_options"     // modprobe -i passes by install lines
	ReasonTriggerProcess   = "unprivileged_process" // what any process may do
	ReasonTriggerAlias     = "alias"                // an alias that somebody may ask for
	ReasonTriggerDevice    = "device"               // a device that is there
	ReasonTriggerList      = "load_list"            // a list of modules to load at boot
	ReasonTriggerDependent = "needed_by"            // a module that brings it along
	ReasonUnread           = "unread"               // a source that could know the name was not read
	ReasonConfigUnread     = "config_unread"        // a part of modprobe's configuration was not read
	ReasonModprobeProgram  = "modprobe_program"     // modprobe is a program that reads its configuration otherwise
	ReasonRegenerated      = "regenerated"          // what the next run of a boot entries' generator would change
	ReasonContainer        = "container"            // a root that is not the one that the kernel's helper sees
	ReasonExtension        = "extension"            // an image that is laid over the root during boot
	ReasonBuiltAtBoot      = "built_at_boot"        // a source of which a service may build modules during boot
	ReasonUnsupported      = "unsupported_module"   // SUSE's modprobe refuses what SUSE does not support
	ReasonBootEntry        = "boot_entry"           // a boot entry that was not read, or may not start this kernel
)

// lineReason returns the reason that a line of modprobe's configuration gives.
func lineReason(code, text string, d *modprobe.Directive) fact.Reason {
	return fact.Reason{Code: code, Text: escape.Text(text), File: slash(d.File), Line: d.Line}
}

// textReason returns a reason whose text holds words of the machine.
func textReason(code, text, file string, line int) fact.Reason {
	return fact.Reason{Code: code, Text: escape.Text(text), File: file, Line: line}
}

// installText returns an install line unchanged.
func installText(d *modprobe.Directive) string { return "install " + d.Name + " " + d.Value }

// unread returns the reason of an answer that is unknown because of err.
func unread(code, what string, err error) fact.Reason {
	return fact.Reason{Code: code, Text: what + " could not be read: " + escape.Text(err.Error()), Unread: err.Error()}
}

// quote is for names in reasons.
func quote(s string) string { return strconv.Quote(s) }

// passes is the answer of a step that stops nothing, without a fact to show for it.
func passes() fact.Answer { return fact.Passes(fact.Reason{}) }

// inTurn returns the answer of a way whose steps are taken in turn, all of which must pass: that of the first that
// stops, else of the first that is unsure, else of the last that applies.
func inTurn(steps ...fact.Answer) fact.Answer {
	var unsure, last fact.Answer
	for _, step := range steps {
		switch {
		case !step.Applies():
			continue
		case step.Blocked() == fact.Yes:
			return step
		case step.Blocked() == "" && !unsure.Applies():
			unsure = step
		}
		last = step
	}
	if unsure.Applies() {
		return unsure
	}
	return last
}
