// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/linux/modprobe"
)

// isDeviceAlias tells a device's modalias, for which udev asks, from a name for which the kernel does.
func isDeviceAlias(alias string) bool {
	return strings.Contains(alias, ":") && !strings.HasPrefix(alias, "devname:") && !strings.HasPrefix(alias, "symbol:")
}

// maxAliases is how many aliases of a module are looked at.
const maxAliases = 5000

// aliasesOf returns the names in the indexes that stand for the module, at most maxAliases.
func (c *checker) aliasesOf(module string) []string {
	if known, ok := c.kept.aliases[module]; ok {
		return known
	}
	var aliases []string
	if x, err := c.tree.Index(modprobe.IndexAlias); err == nil {
		err = x.Each(func(key string, values []modprobe.IndexValue) bool {
			if slices.ContainsFunc(values, func(v modprobe.IndexValue) bool { return v.Value == module }) {
				aliases = append(aliases, key)
			}
			return len(aliases) < maxAliases
		})
		if err != nil {
			c.problem(SourceTree, "", err)
		}
	}
	c.kept.aliases[module] = aliases
	return aliases
}
