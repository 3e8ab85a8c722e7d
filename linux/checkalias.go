// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// isDeviceAlias tells a device's modalias, for which udev asks, from a name for which the kernel does.
func isDeviceAlias(alias string) bool {
	return strings.Contains(alias, ":") && !strings.HasPrefix(alias, "devname:") && !strings.HasPrefix(alias, "symbol:")
}

// aliases are the names in the indexes that stand for the module, at most maxAliases.
func (c *Checker) aliases(module string) []string {
	if known, ok := c.aliasesOf[module]; ok {
		return known
	}
	var aliases []string
	if x, err := c.plain.Index(modprobe.IndexAlias); err == nil {
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
	c.aliasesOf[module] = aliases
	return aliases
}

const maxAliases = 5000

// judgeAliases says whether every alias of the module, or the one that was asked for, is kept from
// loading it. has is false when there is none.
func (c *Checker) judgeAliases(w *world, t target, own fact.Tri) (blocked fact.Tri, has bool, because []fact.Reason) {
	aliases := c.aliases(t.name)
	if t.alias != "" {
		aliases = []string{t.alias}
	}
	configured := false
	for i := range w.config.Aliases {
		configured = configured || w.config.Aliases[i].Value == t.name
	}
	if len(aliases) == 0 && !configured {
		return "", false, nil
	}
	if line := w.config.FindBlacklist(t.name); line != nil {
		return both(w.certain(fact.Yes), own), true, []fact.Reason{reasonOf(ReasonBlacklist, "blacklist "+t.name+": its aliases do not load it", line)}
	}
	if configured && (t.alias == "" || c.leadsTo(w, t.alias, t.name)) {
		return own, true, nil
	}
	for _, alias := range aliases {
		other := w.aliasOverride(alias, t.name)
		if other == nil {
			return own, true, nil
		}
		because = append(because, reasonOf(ReasonAliasOverride, "alias "+other.Name+" "+other.Value, other))
		if d := w.config.FindInstall(other.Value); d != nil && mayLoad(modprobe.EffectOf(d.Value, other.Value)) {
			return "", true, append(because, reasonOf(ReasonInstall, "install "+d.Name+" "+d.Value, d))
		}
	}
	return both(w.certain(fact.Yes), own), true, because[:min(len(because), 3)]
}

// mayLoad reports whether a command may load something.
func mayLoad(effect modprobe.Effect) bool {
	return effect != modprobe.CommandFails && effect != modprobe.CommandNothing
}

// leadsTo reports whether the configuration makes the alias stand for the module.
func (c *Checker) leadsTo(w *world, alias, module string) bool {
	for i := range w.config.Aliases {
		if d := &w.config.Aliases[i]; d.Value == module && modprobe.MatchAlias(d.Name, alias) {
			return true
		}
	}
	return false
}

// aliasOverride returns the line that makes an alias stand for other modules only; nil for none.
func (w *world) aliasOverride(alias, module string) *modprobe.Directive {
	var other *modprobe.Directive
	for i := range w.config.Aliases {
		d := &w.config.Aliases[i]
		if !modprobe.MatchAlias(d.Name, alias) {
			continue
		}
		if d.Value == module {
			return nil
		}
		if other == nil {
			other = d
		}
	}
	return other
}
