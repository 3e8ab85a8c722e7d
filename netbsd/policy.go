// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"strconv"

	"github.com/kernelext/kernelext/fact"
)

// readPolicy asks the running kernel what it enforces on loading: above securelevel 0 no module is
// loaded. NetBSD has no signatures of modules.
func readPolicy(ctx context.Context, call callFunc) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	level, err := call.integer(ctx, sysctlSecureLevel)
	f := fact.PolicyFact{Name: "securelevel", Source: SourcePolicy, File: "sysctl " + sysctlSecureLevel,
		Code: fact.CodeOf(err)}
	if err == nil {
		f.Value, f.Effect, p.Loading = strconv.FormatInt(level, 10), "root may load modules", fact.LoadingAny
		if level > 0 {
			f.Effect, p.Loading = "no module is loaded or unloaded until the next boot", fact.LoadingNone
		}
	}
	p.Facts = append(p.Facts, f)
	auto, err := call.integer(ctx, sysctlAutoload)
	f = fact.PolicyFact{Name: "module_autoload", Source: SourcePolicy, File: "sysctl " + sysctlAutoload,
		Code: fact.CodeOf(err)}
	if err == nil {
		f.Value, f.Effect = strconv.FormatInt(auto, 10), "the kernel loads no module by itself"
		if auto != 0 {
			f.Effect = "the kernel loads modules by itself when something needs them"
		}
	}
	p.Facts = append(p.Facts, f)
	return p
}
