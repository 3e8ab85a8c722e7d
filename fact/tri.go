// SPDX-License-Identifier: Apache-2.0

package fact

// A Tri is yes, no or unknown. Its zero value is unknown and is left out of JSON.
type Tri string

// The two known values of a [Tri].
const (
	Yes Tri = "yes"
	No  Tri = "no"
)

// TriOf returns Yes for true and No for false.
func TriOf(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

// String returns "yes", "no", or "unknown".
func (t Tri) String() string {
	if t == "" {
		return "unknown"
	}
	return string(t)
}
