// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// Every op of the running system answers something that its decoder reads, or says why not. Wine
// answers with a short list of images and without the newer classes.
func TestLive(t *testing.T) {
	ctx := context.Background()
	images := 0
	var paths ntPaths
	for op, parse := range map[string]func([]byte) error{
		OpModulesEx: func(b []byte) error { l, err := parseModulesEx(b); images = max(images, len(l)); return err },
		OpModules:   func(b []byte) error { l, err := parseModules(b); images = max(images, len(l)); return err },
		OpServices:  func(b []byte) error { _, err := parseServices(b); return err },
		OpPaths:     func(b []byte) (err error) { paths, err = parsePaths(b); return err },
		OpServiceKeys: func(b []byte) error {
			var r fact.Report
			_, err := parseServiceKeys(b, ntPaths{SystemRoot: `C:\Windows`}, &r)
			for _, p := range r.Problems {
				if p.Line != 0 {
					t.Errorf("service keys: %v", p)
				}
			}
			return err
		},
		OpDevices:          func(b []byte) error { _, err := ParseDevices(b); return err },
		OpDriverPackages:   func(b []byte) error { _, err := parseDriverPackages(b, new(fact.Report)); return err },
		OpFilters:          func(b []byte) error { _, err := parseFilters(b); return err },
		OpCodeIntegrity:    func(b []byte) error { _, err := parseCodeIntegrity(b); return err },
		OpSecureBoot:       func(b []byte) error { _, _, err := parseSecureBoot(b); return err },
		OpKernelDebugger:   func(b []byte) error { _, _, err := parseKernelDebugger(b); return err },
		OpIsolatedUserMode: func([]byte) error { return nil },
		OpUname:            func([]byte) error { return nil },
		OpClock:            func([]byte) error { return nil },
		OpIdentity: func(b []byte) error {
			if privilege(b) == "" {
				return errors.New("no privilege")
			}
			return nil
		},
	} {
		b, err := Call(ctx, op)
		if err != nil {
			t.Logf("%s: %v", op, err)
			continue
		}
		if err := parse(b); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	if images == 0 || paths.SystemRoot == "" {
		t.Errorf("%d images, Windows folder %q", images, paths.SystemRoot)
	}
	for _, call := range [][]string{{"no_such_op"}, {OpServices, "argument"}, {OpWMIDrivers}} {
		if _, err := Call(ctx, call[0], call[1:]...); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%q: %v", call, err)
		}
	}
	if b, err := Call(ctx, OpRegistry, `SYSTEM\CurrentControlSet\Control`); err != nil {
		t.Error(err)
	} else if keys, err := registry.ParseText("test", b, new(fact.Report)); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if long, err := Call(ctx, OpLongPath, paths.SystemRoot); err != nil ||
		!strings.EqualFold(string(long), paths.SystemRoot) {
		t.Errorf("long path of %s: %q, %v", paths.SystemRoot, long, err)
	}
	for _, size := range []int{4096, 16384} {
		testPages(t, size)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Call(ended, OpServices); err == nil {
		t.Error("a call after its context ended")
	}
}

// Small pages give the list that one page gives.
func testPages(t *testing.T, size int) {
	t.Helper()
	whole, err := services(context.Background(), servicesPage)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := services(context.Background(), size)
	if err != nil || !bytes.Equal(whole, pages) {
		t.Errorf("pages of %d bytes: %d lines, one page has %d, %v", size, bytes.Count(pages, []byte("\n")),
			bytes.Count(whole, []byte("\n")), err)
	}
}
