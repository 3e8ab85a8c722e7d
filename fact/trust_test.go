// SPDX-License-Identifier: Apache-2.0

package fact

import "testing"

func TestTrustIncludes(t *testing.T) {
	for _, tt := range []struct {
		trust, origin Trust
		want          bool
	}{
		{0, 0, true}, {0, TrustMicrosoft, true}, {TrustAll, TrustApple, true},
		{TrustAll &^ TrustMicrosoft, TrustMicrosoft, false}, {TrustAll &^ TrustMicrosoft, TrustKernel, true},
		{TrustCaller, TrustKernel, false}, {TrustCaller, 0, true}, {TrustKernel, TrustCaller, true},
		{TrustKernel | TrustMachine, TrustMachine, true}, {TrustKernel, TrustDistribution, false},
	} {
		if got := tt.trust.Includes(tt.origin); got != tt.want {
			t.Errorf("%b includes %b: %v", tt.trust, tt.origin, got)
		}
	}
}
