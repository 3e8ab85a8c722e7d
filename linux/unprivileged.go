// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/linux/modprobe"
)

// A Trigger is something that a process without privilege can do to make the kernel ask for a
// module.
type Trigger struct {
	// Prefix is how the name that the kernel asks for begins, normalised.
	Prefix string
	// ByName is set when that is the module's own name, not an alias.
	ByName bool
	// Text says what the process does.
	Text string
}

// unprivilegedTriggers are the requests of the kernel that it makes without asking for a
// capability, or for one that a user namespace gives. The list is what was found in Linux 6.1 to
// 6.12; a module without one may have another.
var unprivilegedTriggers = [...]Trigger{
	{"net_pf_16_proto_16_family_", false, "a generic netlink request"},
	{"net_pf_", false, "socket()"},
	{"can_proto_", false, "socket() of the CAN family"},
	{"bt_proto_", false, "socket() of the Bluetooth family"},
	{"tty_ldisc_", false, "TIOCSETD on a terminal, unless dev.tty.ldisc_autoload is 0"},
	{"algif_", true, "AF_ALG bind()"},
	{"crypto_", false, "AF_ALG bind()"},
	{"fs_", false, "mount() in a user namespace"},
	{"binfmt_", false, "execve() of such a file"},
	{"rtnl_", false, "a network device in a user namespace"},
	{"nft_", false, "nftables in a user namespace"},
	{"nfnetlink_subsys_", false, "netfilter in a user namespace"},
	{"ip_set_", false, "ipset in a user namespace"},
	{"ipt_", false, "iptables in a user namespace"},
	{"ip6t_", false, "ip6tables in a user namespace"},
	{"xt_", true, "iptables in a user namespace"},
	{"sch_", true, "traffic control in a user namespace"},
	{"net_sch_", false, "traffic control in a user namespace"},
	{"cls_", true, "traffic control in a user namespace"},
	{"net_cls_", false, "traffic control in a user namespace"},
	{"act_", true, "traffic control in a user namespace"},
	{"net_act_", false, "traffic control in a user namespace"},
	{"devname:net/tun", false, "open() of /dev/net/tun"},
	{"devname:fuse", false, "open() of /dev/fuse"},
}

// triggerOf returns the first trigger for an alias, or for a module's own name; nil for none.
func triggerOf(name string, byName bool) *Trigger {
	normal, ok := modprobe.NormalizeAlias(name)
	if !ok {
		return nil
	}
	for i := range unprivilegedTriggers {
		if t := &unprivilegedTriggers[i]; t.ByName == byName && strings.HasPrefix(normal, t.Prefix) {
			return t
		}
	}
	return nil
}
