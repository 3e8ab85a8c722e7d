// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/windows/registry"
)

// TestHiveLogs: the logs of hives are replayed to their end, so that their cost is one of the whole.
func TestHiveLogs(t *testing.T) {
	const path = "C:/Windows/System32/config/SYSTEM"
	found := 0
	for _, b := range bomb.All() {
		if !strings.Contains(b.Name, "hive log") {
			continue
		}
		found++
		costs := [2]fact.Cost{}
		for i := range costs {
			files := b.Files(b.Small << i)
			hive, log := files[path].Data, files[path+".LOG1"].Data
			budget := fact.NewBudget(0)
			item := budget.Item(int64(len(hive) + len(log)))
			_, err := registry.Replay(hive, []registry.Log{{Name: "LOG1", Data: log}}, item)
			if (err == nil) == strings.Contains(b.Name, "in vain") {
				t.Errorf("%s: %v", b.Name, err)
			}
			item.Done()
			costs[i] = budget.Cost()
		}
		if limit := grown(uint64(costs[0].Work)); costs[0].Work == 0 || uint64(costs[1].Work) > limit {
			t.Errorf("%s: %+v", b.Name, costs)
		}
	}
	if found != 5 {
		t.Errorf("%d bombs", found)
	}
}
