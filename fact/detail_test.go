// SPDX-License-Identifier: Apache-2.0

package fact

import "testing"

func TestDetailWords(t *testing.T) {
	d, err := ParseDetail("files, signatures,,policy")
	if err != nil || d != DetailFiles|DetailSignatures|DetailPolicy || d.String() != "files,signatures,policy" {
		t.Errorf("%v, %v", d, err)
	}
	if all, err := ParseDetail("all"); err != nil || all != allDetail {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := ParseDetail("file"); err == nil {
		t.Error("unknown word is taken")
	}
}
