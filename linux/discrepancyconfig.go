// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// viewOption returns the option of the kernel's configuration without which the kernel does not have a view; empty for
// a view that every kernel with modules has.
func viewOption(view string) string {
	switch view {
	case viewSymbols:
		return "CONFIG_KALLSYMS"
	case viewBTF:
		return "CONFIG_DEBUG_INFO_BTF_MODULES"
	case viewCrypto:
		return "CONFIG_CRYPTO"
	case viewLog:
		return "CONFIG_PRINTK"
	case viewUnloaded:
		return "CONFIG_MODULE_UNLOAD_TAINT_TRACKING"
	case viewFtrace:
		return "CONFIG_DYNAMIC_FTRACE"
	case viewDynamicDebug:
		return "CONFIG_DYNAMIC_DEBUG"
	}
	return ""
}

// unsupported says of the views that are missing which of them the kernel that runs was built without: such a view can
// hide nothing. One that is missing for another reason, such as a debugfs that is not mounted, stays absent.
func (r *viewReader) unsupported(ctx context.Context, d *fact.Discrepancy) {
	var config *kernelConfig
	for i := range d.Evidence {
		e := &d.Evidence[i]
		option := viewOption(e.Source)
		if option == "" || e.Fact != string(fact.CodeAbsent) {
			continue
		}
		if config == nil {
			release, err := r.kernel.runningRelease(ctx)
			if err == nil {
				config, err = readKernelConfig(r.fsys, release, true)
			}
			if err != nil {
				return // they stay absent
			}
		}
		if value, _ := config.Get(option); value == "n" {
			e.Fact = string(fact.CodeUnsupported)
			e.Value = fmt.Sprintf("this kernel was built without it (%s in /%s)", option, config.File)
		}
	}
}
