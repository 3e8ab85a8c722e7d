// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// TestBuiltinWithFile has a module that is compiled in and is also in the tree as a file: for
// modprobe it is loaded already, with and without the line that says it is compiled in.
func TestBuiltinWithFile(t *testing.T) {
	t.Parallel()
	file := smallest(t, plainTree(t), 1)[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Base(file)
	name := strings.ReplaceAll(strings.TrimSuffix(base, ".ko"), "-", "_")
	for _, builtin := range []bool{true, false} {
		root, release := t.TempDir(), plainTree(t).Release
		dir := filepath.Join(root, "lib", "modules", release)
		writeFile(t, filepath.Join(dir, "updates", base), data)
		list := ""
		if builtin {
			list = "kernel/made/" + base + "\n"
		}
		writeFile(t, filepath.Join(dir, "modules.builtin"), []byte(list))
		writeFile(t, filepath.Join(dir, "modules.order"), nil)
		output(t, "depmod", "-b", root, release)
		theirs := output(t, "modprobe", "-d", root, "-S", release, "-n", "-v", name)
		s := openRoot(t, root, release, 0)
		plan, err := s.LoadPlan(t.Context(), name)
		if err != nil || len(plan) != 1 {
			t.Fatal(plan, err)
		}
		found, err := s.Resolve(t.Context(), name)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if inserts := strings.Contains(theirs, "insmod "); inserts == builtin || plan[0].Builtin != builtin ||
			(found[0].State == lkm.StateBuiltin) != builtin {
			t.Errorf("compiled in: %v; modprobe says %q, the plan %+v, resolve %s", builtin,
				theirs, plan[0], found[0].State)
		}
	}
}
