// SPDX-License-Identifier: Apache-2.0

package sentinel

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestError(t *testing.T) {
	for _, c := range []struct {
		got  error
		want error
	}{
		{&Error{Before: "in no index", Cause: fs.ErrNotExist}, fmt.Errorf("in no index: %w", fs.ErrNotExist)},
		{&Error{Cause: fs.ErrNotExist, After: "no index"}, fmt.Errorf("%w: no index", fs.ErrNotExist)},
		{&Error{Cause: fs.ErrNotExist}, fs.ErrNotExist},
	} {
		if c.got.Error() != c.want.Error() {
			t.Errorf("Error() = %q, want %q", c.got, c.want)
		}
		if !errors.Is(c.got, fs.ErrNotExist) {
			t.Errorf("%q does not match fs.ErrNotExist", c.got)
		}
	}
}
