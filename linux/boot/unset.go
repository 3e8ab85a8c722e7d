// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"slices"
	"strings"
)

// settleUnset takes away grub's variables that nothing sets: each is empty, as $tuned_params of a machine without
// tuned. A variable is known not to be set if every grub.cfg and every environment block was read, and none has its
// name but after a "$". What is left out of a recording may set any.
func (r *bootReader) settleUnset() {
	env := r.environment()
	if len(env.configs) == 0 || r.lost || slices.ContainsFunc(r.grubFiles, r.isRedacted) ||
		slices.ContainsFunc(grubEnvFiles, r.isRedacted) {
		return
	}
	if env.literals(""); r.lost { // that reads the environment blocks and the configurations
		return
	}
	known := make(map[string]bool)
	isUnset := func(variable string) bool {
		name := strings.TrimPrefix(variable, "$")
		unset, ok := known[name]
		if !ok && len(known) < maxLiterals {
			unset = !grubSetsItself(name) && !env.mentions(name)
			known[name] = unset
		}
		return unset
	}
	for i := range r.boot.Entries {
		e := &r.boot.Entries[i]
		e.Unresolved = slices.DeleteFunc(e.Unresolved, isUnset)
		e.initrdOpen = slices.DeleteFunc(e.initrdOpen, isUnset)
	}
}

// mentions reports whether a grub.cfg has the name otherwise than as the value of the variable, or something sets it.
func (e *grubEnv) mentions(name string) bool {
	if len(e.values[name]) > 0 || e.unsure[name] {
		return true
	}
	for _, text := range e.configs {
		for at := 0; ; {
			i := strings.Index(text[at:], name)
			if i < 0 {
				break
			}
			start, end := at+i, at+i+len(name)
			at = end
			whole := (start == 0 || !isShellName(text[start-1:start])) && (end == len(text) ||
				!isShellName(text[end:end+1]))
			if before := text[:start]; whole && !strings.HasSuffix(before, "$") && !strings.HasSuffix(before, "${") {
				return true
			}
		}
	}
	return false
}

// grubSetsItself reports whether grub, or a module of it, sets a variable without a command of grub.cfg, or it is an
// argument of a function (GRUB's manual, "Special environment variables").
func grubSetsItself(name string) bool {
	if name == "" || strings.Trim(name, "0123456789@*#?") == "" {
		return true
	}
	for _, prefix := range []string{"net_", "pxe_", "feature_", "grub_", "color_", "menu_color_", "config_", "boot_",
		"shim_", "check_", "gfx", "linux_gfx"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"root", "prefix", "cmdpath", "chosen", "default", "fallback", "timeout", "debug",
		"lang", "locale_dir", "pager", "superusers", "theme", "lockdown", "secondary_locale_dir", "menuentry_id_option",
		"biosnum", "bootdev", "tpm_fail_fatal", "smbios"}, name)
}
