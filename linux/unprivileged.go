// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// unprivilegedWay says whether what any process may trigger is blocked. alias and name are the answers for requests by
// alias and by the module's own name; alias does not apply to a module without one.
func (c *checker) unprivilegedWay(m *modprobeState, t target, alias, name fact.Answer) fact.Answer {
	if name.Blocked() == fact.Yes && (!alias.Applies() || alias.Blocked() == fact.Yes) {
		return name
	}
	known := triggerOf(t.name, true) != nil
	if known && name.Blocked() == fact.No {
		return name
	}
	for _, a := range c.aliasesOf(t.name) {
		if triggerOf(a, false) == nil {
			continue
		}
		known = true
		if alias.Blocked() == fact.No && m.targetsOf(a).override(t.name) == nil {
			return alias
		}
	}
	switch {
	case alias.Applies() && alias.Blocked() == "":
		return alias
	case name.Blocked() == "":
		return name
	case known && alias.Applies():
		return stopsKnown(alias, name)
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonTriggerProcess, Unread: "which processes make the kernel ask for it",
		Text: "no request of a process without privilege for it is known; there may be one"})
}

// stopsKnown is the answer if every request that is known is blocked: by what blocks one of them.
func stopsKnown(alias, name fact.Answer) fact.Answer {
	if name.Blocked() == fact.Yes {
		return name
	}
	return fact.Stops(alias.Because())
}

// A trigger is something that a process without privilege can do to make the kernel ask for a module.
type trigger struct {
	prefix string // how the name begins that the kernel asks for, normalized
	byName bool   // that is the module's own name, not an alias
	does   string // what the process does
}

// unprivilegedTriggers are the requests of the kernel that it makes without asking for a
// capability, or for one that a user namespace gives. The list is what was found in Linux 6.1 to
// 6.12; a module without one may have another.
var unprivilegedTriggers = [...]trigger{
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
func triggerOf(name string, byName bool) *trigger {
	normal, ok := modprobe.NormalizeAlias(name)
	if !ok {
		return nil
	}
	for i := range unprivilegedTriggers {
		if t := &unprivilegedTriggers[i]; t.byName == byName && strings.HasPrefix(normal, t.prefix) {
			return t
		}
	}
	return nil
}
