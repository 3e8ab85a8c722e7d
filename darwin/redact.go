// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"slices"

	"howett.net/plist"

	"github.com/kernelext/kernelext/internal/lazy"
)

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string { return []string{"addresses", "nvram", "device_ids"} }

// addressKeys are the properties of a loaded kext that are addresses in the kernel.
var addressKeys = []string{"OSBundleLoadAddress", "OSBundleExecLoadAddress", "OSBundleCacheLoadAddress"}

// keptVariables are the firmware variables that decoders read.
var keptVariables = []string{"csr-active-config", secureBootVariable, "boot-args"}

// keptBridge are the properties of a SPiBridgeDataType report that decoders read.
var keptBridge = []string{
	"_dataType", "_items", "ibridge_secure_boot", "ibridge_sb_sip", "ibridge_sb_other_kext", "ibridge_sb_manual_mdm",
	"ibridge_sb_device_mdm", "ibridge_sb_boot_args", "ibridge_sb_ctrr", "ibridge_sb_ssv",
}

// Redact returns what a recording may keep of an answer: data itself when there is nothing to take
// out, nil when nothing may be kept. key is the file's slash path below the root, or a call's op
// and arguments with spaces between them.
//
// What goes:
//   - load addresses, in the kernel's list and in the output of kmutil and kextstat: they become 0.
//     One that the kernel itself gave as 0 is left, so that a hidden address stays hidden by it.
//   - firmware variables that no decoder reads, and of boot-args every word that is not one of the
//     kernel's switches for extensions.
//   - all of a report on the boot security but its settings.
func Redact(key string, data []byte) []byte {
	switch key {
	case OpLoadedKextInfo:
		return redactLoadedInfo(data)
	case OpKmutil, OpKextstat:
		return addressColumn.ReplaceAll(data, []byte("${1}0"))
	case OpNVRAM:
		return redactNVRAM(data)
	case OpBridge:
		return redactBridge(data)
	}
	return data
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool {
	switch key {
	case OpLoadedKextInfo, OpKmutil, OpKextstat, OpNVRAM, OpBridge:
		return true
	}
	return false
}

// addressColumn is the third column of kextstat.
var addressColumn = lazy.Regexp{Pattern: `(?m)^(\s*[0-9?]+\s+[0-9?]+\s+)0x0*[1-9a-f][0-9a-f]*`}

// redactLoadedInfo zeroes the addresses. What does not decode is not kept.
func redactLoadedInfo(data []byte) []byte {
	n, err := decodePlist(OpLoadedKextInfo, data)
	if err != nil {
		return nil
	}
	changed := false
	for _, kext := range n.dict {
		for _, key := range addressKeys {
			if v := kext.dict[key]; v.num != 0 || v.kind != integerNode && v.kind != noNode {
				kext.dict[key] = node{kind: integerNode}
				changed = true
			}
		}
	}
	if !changed {
		return data
	}
	return encodePlist(n)
}

func redactNVRAM(data []byte) []byte {
	n, err := decodePlist(OpNVRAM, data)
	if err != nil || n.kind != dictNode {
		return nil
	}
	changed := false
	for key := range n.dict {
		if !slices.Contains(keptVariables, key) {
			delete(n.dict, key)
			changed = true
		}
	}
	if v, ok := n.dict["boot-args"]; ok {
		if kept := keptBootArgs(v); kept != string(v.data)+v.str {
			n.dict["boot-args"] = node{kind: stringNode, str: kept}
			changed = true
		}
	}
	if !changed {
		return data
	}
	return encodePlist(n)
}

func redactBridge(data []byte) []byte {
	n, err := decodePlist(OpBridge, data)
	if err != nil {
		return nil
	}
	for i := range n.list {
		keepBridge(&n.list[i])
	}
	out := encodePlist(n)
	if bytes.Equal(out, data) {
		return data
	}
	return out
}

func keepBridge(n *node) {
	for key := range n.dict {
		if !slices.Contains(keptBridge, key) {
			delete(n.dict, key)
		}
	}
	items := n.dict["_items"]
	for i := range items.list {
		keepBridge(&items.list[i])
	}
}

// encodePlist writes a node as a binary property list. Dates and reals become text. The decoder's
// caps bound its size and depth.
func encodePlist(n node) []byte {
	b, err := plist.Marshal(n.value(), plist.BinaryFormat)
	if err != nil {
		return nil
	}
	return b
}

// value is the node in the types that the library writes.
func (n node) value() any {
	switch n.kind {
	case integerNode:
		return int64(n.num)
	case boolNode:
		return n.num != 0
	case dataNode:
		return n.data
	case arrayNode:
		list := make([]any, 0, len(n.list))
		for _, v := range n.list {
			list = append(list, v.value())
		}
		return list
	case dictNode:
		dict := make(map[string]any, len(n.dict))
		for k, v := range n.dict {
			dict[k] = v.value()
		}
		return dict
	}
	return n.str
}
