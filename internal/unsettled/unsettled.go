// SPDX-License-Identifier: Apache-2.0

// Package unsettled takes back what the policy of an image says only because nothing was found that could say more.
package unsettled

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// FactKernel is the fact that says why nothing is known of the kernel of an image.
const FactKernel = "kernel"

// Kernel makes unknown what the policy of an image whose kernel was not found says to be absent, and adds a fact: the
// kernel that runs may be configured elsewhere. why names the source, and says in a code and a text what is missing.
func Kernel(p *fact.Policy, why fact.Problem) {
	Facts(p, why)
	p.Facts = append(p.Facts, fact.PolicyFact{Name: FactKernel, Source: why.Source, Code: why.Code, Unknown: true,
		Effect: why.Text})
}

// Facts makes unknown what a policy says to be absent, and with it the conclusion: nothing was read that could set it.
// With sources only the facts of these are meant.
func Facts(p *fact.Policy, why fact.Problem, sources ...string) {
	p.Loading = ""
	for i := range p.Facts {
		f := &p.Facts[i]
		if f.Code == fact.CodeAbsent && f.Value == "" && (sources == nil || slices.Contains(sources, f.Source)) {
			f.Code, f.Unknown, f.Effect = why.Code, true, why.Text
		}
	}
}
