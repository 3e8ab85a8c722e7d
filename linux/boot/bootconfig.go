// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// Caps of a bootconfig: the kernel's own (XBC_DATA_MAX, XBC_NODE_MAX, XBC_DEPTH_MAX, XBC_KEYLEN_MAX).
const (
	maxBootconfig      = 32767
	maxBootconfigKey   = 256
	maxBootconfigNodes = 8192
	maxBootconfigDepth = 16
)

// bootconfigEnd ends an initial file system that a bootconfig is appended to. The config's size and its checksum
// precede it.
const bootconfigEnd = "#BOOTCONFIG\n"

// cutBootconfig divides what a boot loader hands over as initial file systems into those and the bootconfig after
// them, as the kernel does (get_boot_config_from_initrd): up to three bytes may follow, because GRUB aligns the size.
// The bootconfig is empty if it is missing or its checksum is wrong.
func cutBootconfig(data []byte) (rest []byte, config string) {
	for pad := range 4 {
		head := len(data) - pad - len(bootconfigEnd) - 8
		if head < 0 || string(data[head+8:head+8+len(bootconfigEnd)]) != bootconfigEnd {
			continue
		}
		size := int64(binary.LittleEndian.Uint32(data[head:]))
		if size > int64(head) || size > maxBootconfig {
			return data, ""
		}
		text := data[head-int(size) : head]
		sum := uint32(0)
		for _, b := range text {
			sum += uint32(b)
		}
		if sum != binary.LittleEndian.Uint32(data[head+4:]) {
			return data, ""
		}
		config, _, _ = strings.Cut(string(text), "\x00")
		return data[:head-int(size)], config
	}
	return data, ""
}

// BootconfigWords returns the words that a bootconfig adds before the kernel's command line, those of its keys below
// "kernel" (xbc_make_cmdline). ok is false for a text that the kernel does not take: it goes on without.
func BootconfigWords(text string) (words string, ok bool) {
	p := bootconfigParser{rest: text, index: make(map[string]int)}
	if len(text) > maxBootconfig || !p.parse() {
		return "", false
	}
	var b strings.Builder
	for _, n := range p.nodes {
		key, isKernel := strings.CutPrefix(n.key, "kernel.")
		if !isKernel {
			continue
		}
		if len(n.values) == 0 {
			b.WriteString(key + " ")
		}
		for _, v := range n.values {
			b.WriteString(key + `="` + escape.UTF8(v) + `" `)
		}
	}
	return b.String(), true
}

// A bootconfigNode is one key that has values, or that stands alone.
type bootconfigNode struct {
	key    string
	values []string
}

// A bootconfigParser reads a bootconfig (Documentation/admin-guide/bootconfig.rst, lib/bootconfig.c).
type bootconfigParser struct {
	rest   string
	braces []string // the keys of the open braces
	nodes  []bootconfigNode
	index  map[string]int // of nodes, by key
	count  int            // of values
}

// parse reads all. It is false if something is invalid, and then nothing of it counts.
func (p *bootconfigParser) parse() bool {
	for {
		i := strings.IndexAny(p.rest, "{}=+;:\n#")
		if i < 0 {
			return strings.TrimSpace(p.rest) == "" && len(p.braces) == 0
		}
		key, c := strings.TrimSpace(p.rest[:i]), p.rest[i]
		p.rest = p.rest[i+1:]
		ok := true
		switch c {
		case ':', '+':
			if p.rest == "" || p.rest[0] != '=' {
				return false
			}
			p.rest = p.rest[1:]
			ok = p.values(key, c)
		case '=':
			ok = p.values(key, c)
		case '{':
			ok = p.open(key)
		case '}':
			ok = p.lone(key) && p.close()
		case '#':
			p.comment()
			ok = p.lone(key)
		default:
			ok = p.lone(key)
		}
		if !ok {
			return false
		}
	}
}

// comment passes a comment.
func (p *bootconfigParser) comment() { _, p.rest, _ = strings.Cut(p.rest, "\n") }

// full returns the key with those of the open braces; empty for one that is not a key.
func (p *bootconfigParser) full(key string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	for part := range strings.SplitSeq(key, ".") {
		if part == "" || strings.Trim(part, letters) != "" {
			return ""
		}
	}
	if n := len(p.braces); n > 0 {
		key = p.braces[n-1] + "." + key
	}
	if strings.Count(key, ".") >= maxBootconfigDepth || len(key) >= maxBootconfigKey {
		return "" // xbc_verify_tree
	}
	return key
}

// open takes a key with a brace after it.
func (p *bootconfigParser) open(key string) bool {
	full := p.full(key)
	p.braces = append(p.braces, full)
	return full != "" && len(p.braces) <= maxBootconfigDepth
}

// close takes a closing brace.
func (p *bootconfigParser) close() bool {
	if len(p.braces) == 0 {
		return false
	}
	p.braces = p.braces[:len(p.braces)-1]
	return true
}

// lone takes a key without a value; an empty key is ignored.
func (p *bootconfigParser) lone(key string) bool {
	if key == "" {
		return true
	}
	_, ok := p.node(key)
	return ok
}

// node returns the index of the key's node; it adds a node for a new key.
func (p *bootconfigParser) node(key string) (int, bool) {
	full := p.full(key)
	if full == "" || len(p.nodes) >= maxBootconfigNodes {
		return 0, false
	}
	i, known := p.index[full]
	if !known {
		i = len(p.nodes)
		p.index[full] = i
		p.nodes = append(p.nodes, bootconfigNode{key: full})
	}
	return i, true
}

// values takes the values after a key: "=" sets them once, ":=" again, "+=" adds to them.
func (p *bootconfigParser) values(key string, operator byte) bool {
	i, ok := p.node(key)
	if !ok || operator == '=' && len(p.nodes[i].values) > 0 {
		return false
	}
	if operator == ':' {
		p.nodes[i].values = nil
	}
	for {
		v, end, ok := p.value()
		if p.count++; !ok || p.count > maxBootconfigNodes {
			return false
		}
		p.nodes[i].values = append(p.nodes[i].values, v)
		switch end {
		case ',':
			continue
		case '}':
			return p.close()
		}
		return true
	}
}

// value reads one value, and returns what ends it: a comma, or the end of the statement.
func (p *bootconfigParser) value() (v string, end byte, ok bool) {
	p.rest = strings.TrimLeft(p.rest, " \t\n\v\f\r")
	for strings.HasPrefix(p.rest, "#") {
		p.comment()
		p.rest = strings.TrimLeft(p.rest, " \t\n\v\f\r")
	}
	if p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'') {
		inner, tail, closed := strings.Cut(p.rest[1:], p.rest[:1])
		if !closed {
			return "", 0, false
		}
		v, p.rest = inner, strings.TrimLeft(tail, " \t\v\f\r")
		if p.rest != "" && strings.IndexByte(",;\n#}", p.rest[0]) < 0 {
			return "", 0, false
		}
	} else {
		i := strings.IndexAny(p.rest, ",;\n#}")
		if i < 0 {
			i = len(p.rest)
		}
		v, p.rest = strings.TrimSpace(p.rest[:i]), p.rest[i:]
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && !isKernelSpace(byte(r)) || r > '~' }) {
		return "", 0, false
	}
	if p.rest == "" {
		return v, '\n', true
	}
	end, p.rest = p.rest[0], p.rest[1:]
	if end == '#' {
		p.comment()
		end = '\n'
	}
	return v, end, true
}
