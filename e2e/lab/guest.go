// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/vm"
)

// User is the ordinary user of a guest: no capability, no group but its own.
const User = 1000

// A Guest is a VM whose failures end the test. The embedded VM's own methods return errors instead.
type Guest struct {
	*vm.VM
	t testing.TB
}

// Boot starts a guest that ends with the test; what its kernel said is logged if the test fails.
func Boot(t testing.TB, k debian.Kernel, image *vm.Image, cmdline ...string) *Guest {
	t.Helper()
	return BootConfig(t, vm.Config{Kernel: k.Image(), Image: image, Cmdline: cmdline})
}

// BootConfig is Boot for tests that need other hardware than the usual.
func BootConfig(t testing.TB, c vm.Config) *Guest {
	t.Helper()
	Tools(t, vm.QEMU)
	v, err := vm.Boot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of the guest:\n%s", v.Console())
		}
		v.Close()
	})
	t.Logf("guest booted in %.1f s", v.BootTime.Seconds())
	return &Guest{v, t}
}

// For gives the same guest to a subtest, whose calls then end the subtest when they fail.
func (g *Guest) For(t testing.TB) *Guest { return &Guest{g.VM, t} }

// Do runs a command to its end and gives what came of it, whatever its exit code.
func (g *Guest) Do(c agent.Command) agent.Result {
	g.t.Helper()
	r, err := g.VM.Run(g.t.Context(), c)
	if err != nil {
		g.t.Fatal(err)
	}
	if r.TimedOut {
		g.t.Fatalf("%q: no end\n%s%s", c.Argv, r.Stdout, r.Stderr)
	}
	return r
}

// Must runs a command that has to succeed and gives its standard output.
func (g *Guest) Must(c agent.Command) []byte {
	g.t.Helper()
	r := g.Do(c)
	if r.Code != 0 {
		g.t.Fatalf("%q: exit code %d\n%s%s", c.Argv, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Root runs a command as root that has to succeed.
func (g *Guest) Root(argv ...string) []byte {
	g.t.Helper()
	return g.Must(agent.Command{Argv: argv})
}

// AsUser runs a command as the ordinary user that has to succeed.
func (g *Guest) AsUser(argv ...string) []byte {
	g.t.Helper()
	return g.Must(agent.Command{Argv: argv, UID: User, GID: User})
}

// File reads a file that has to be readable for root.
func (g *Guest) File(name string) []byte {
	g.t.Helper()
	data, err := g.ReadFile(g.t.Context(), name)
	if err != nil {
		g.t.Fatal(err)
	}
	return data
}

// Dir lists a directory that has to be readable for root.
func (g *Guest) Dir(name string) []agent.Entry {
	g.t.Helper()
	entries, err := g.ReadDir(g.t.Context(), name)
	if err != nil {
		g.t.Fatal(err)
	}
	return entries
}
