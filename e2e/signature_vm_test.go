// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
)

// TestKernelSignatureRules asks a kernel that wants signatures what it takes: the rules that the
// library judges by. Debian's own signature is the one that the kernel trusts; the keys of the test
// are unknown to it.
func TestKernelSignatureRules(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "openssl")
	k := lab.Kernel(t, debian.Cloud61)
	const name = "af_alg"
	signed, err := os.ReadFile(k.Root + "/lib/modules/" + k.Release + "/kernel/crypto/" + name + ".ko")
	if err != nil {
		t.Fatal(err)
	}
	module := unsigned(t, signed)
	debians := signed[len(module) : len(signed)-12-len(signatureMark)]
	other := append([]byte(nil), module...)
	other[len(other)/2] ^= 1
	signers := newSigners(t)
	rsa, ecdsa := signers[:1], signers[1:]
	g := lab.Boot(t, k, lab.Image(t, k), "module.sig_enforce=1", "loglevel=7")
	for _, c := range []struct {
		what  string
		block []byte
		loads bool
		log   string // what the kernel says, if it says why
	}{
		{"Debian's", debians, true, ""},
		{"a stranger's", opensslCMS(t, "sha256", module, rsa, "-noattr"), false, "unavailable key"},
		{"a stranger's, with signed attributes", opensslCMS(t, "sha256", module, rsa), false,
			"Invalid module sig (has authattrs)"},
		{"Debian's and a stranger's", mergeCMS(t, debians, opensslCMS(t, "sha512", module, rsa, "-noattr")), true, ""},
		{"Debian's and a stranger's by another algorithm",
			mergeCMS(t, debians, opensslCMS(t, "sha512", module, ecdsa, "-noattr")), true, ""},
		{"Debian's and a stranger's of another content",
			mergeCMS(t, debians, opensslCMS(t, "sha512", other, rsa, "-noattr")), true, ""},
		{"Debian's and a stranger's with signed attributes", mergeCMS(t, debians, opensslCMS(t, "sha512", module, rsa)),
			false, "Inconsistently supplied authAttrs"},
		{"Debian's and a stranger's named by key",
			mergeCMS(t, debians, opensslCMS(t, "sha512", module, rsa, "-noattr", "-keyid")), false, "version mismatch"},
		{"Debian's and a stranger's of RSA-PSS",
			mergeCMS(t, debians, opensslCMS(t, "sha512", module, rsa, "-noattr", "-keyopt", "rsa_padding_mode:pss")),
			false, "Unsupported pkey algo"},
	} {
		if err := g.WriteFile(t.Context(), "/tmp/m.ko", 0o644, appendSignature(module, c.block)); err != nil {
			t.Fatal(err)
		}
		before := len(g.Console())
		r := g.Do(agent.Command{Argv: []string{"insmod", "/tmp/m.ko"}})
		came := strings.Contains("\n"+string(g.File("/proc/modules")), "\n"+name+" ")
		if said := g.Console()[before:]; came != c.loads || !strings.Contains(said, c.log) {
			t.Errorf("%s: loaded: %v, want %v; %s; the kernel said %q, want %q", c.what, came,
				c.loads, r.Stderr, said, c.log)
		}
		if came {
			g.Root("rmmod", name)
		}
	}
}
