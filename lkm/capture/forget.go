// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"slices"

	"github.com/kernelext/kernelext/lkm"
)

// forget makes unknown what a part of a list does not say of its rows: what follows from all rows of a list, and what
// is empty in every row, because its column may have been left out. On Linux a row names the users of its module, on
// other systems what it requires. A Linux module without references has no users.
func forget(modules []lkm.Module) {
	users := slices.ContainsFunc(modules, func(m lkm.Module) bool { return len(m.UsedBy) > 0 })
	taints := slices.ContainsFunc(modules, func(m lkm.Module) bool { return m.Linux != nil && len(m.Linux.Taints) > 0 })
	for i := range modules {
		m := &modules[i]
		if m.Linux == nil {
			m.UsedBy = nil
			continue
		}
		m.Requires = nil
		if refs, ok := m.Refs.Get(); !users && (!ok || refs != 0) {
			m.UsedBy = nil
		}
		if !taints {
			m.Linux.Taints = nil
		}
	}
}
