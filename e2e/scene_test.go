// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
	"github.com/kernelext/kernelext/e2e/vm"
)

// families are the kernels that the tests of loaded modules run on.
var families = []debian.Family{debian.Cloud61, debian.Cloud612}

// wanted are modules that both kernels have: with and without dependencies, versions and
// parameters, with a dash in the file name (dm-crypt), and one that can never be unloaded (vrf).
var wanted = []string{
	"8021q", "bridge", "br_netfilter", "vxlan", "vrf", "wireguard", "nf_tables", "xt_conntrack", "overlay", "squashfs",
	"loop", "dm-crypt", "zram", "vhost_net", "virtio_net", "sunrpc", "binfmt_misc", "algif_hash",
}

// scene boots a kernel and brings it into the state that is compared and recorded: wanted modules
// and what they need loaded, one in use by a mount, and modules of ours that are out of tree and
// unsigned.
func scene(t *testing.T, f debian.Family, tools ...string) *lab.Guest {
	t.Helper()
	k := lab.Kernel(t, f)
	i := lab.Image(t, k, wanted...)
	for _, tool := range tools {
		i.CopyProgram(tool)
	}
	return play(t, k, i)
}

// play boots an image that has the wanted modules into the scene.
func play(t *testing.T, k debian.Kernel, i *vm.Image) *lab.Guest {
	t.Helper()
	lab.AddOutOfTree(t, i, k)
	g := lab.Boot(t, k, i)
	g.Root(append([]string{"modprobe", "-a"}, wanted...)...)
	g.Root("insmod", lab.Modules+"/"+module.Base+".ko", "number=42")
	g.Root("insmod", lab.Modules+"/"+module.User+".ko")
	for _, m := range []agent.Mount{
		{Source: "none", Target: "/mnt/layers", Type: "tmpfs"},
		{Source: "none", Target: "/mnt/layers/lower", Type: "tmpfs"},
		{Source: "none", Target: "/mnt/layers/upper", Type: "tmpfs"},
		{Source: "none", Target: "/mnt/merged", Type: "overlay", Data: "lowerdir=/mnt/layers/lower:/mnt/layers/upper"},
	} {
		if err := g.Mount(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	return g
}
