// SPDX-License-Identifier: Apache-2.0

package linux

import "bytes"

// redactorOfView returns what Redact does with a file that FindDiscrepancies reads, nil for nothing.
func redactorOfView(key string) func([]byte) []byte {
	switch key {
	case KallsymsFile:
		return oncePerModule(redactSymbol, symbolTag)
	case FtraceFile, ftraceOldFile:
		return oncePerModule(redactFunction, functionTag)
	case FtraceUsedFile, ftraceOldUsedFile:
		return byLine(redactHook)
	case DynamicDebugFile, dynamicDebugProc:
		return oncePerModule(redactDebug, debugTag)
	case VmallocFile:
		return redactAll
	}
	return nil
}

// oncePerModule makes a function for lines one for texts that keeps the first of lines in a row that
// name the same module: there are thousands, and nothing but the name is read from them. A text in
// two parts may keep one line more.
func oncePerModule(redact func(line []byte) []byte, tag func(line []byte) string) func([]byte) []byte {
	return func(data []byte) []byte {
		last := ""
		return eachLine(data, func(line []byte) []byte {
			kept := redact(line)
			t := tag(kept)
			if t != "" && t == last {
				return nil
			}
			last = t
			return kept
		})
	}
}

// redactSymbol keeps a line of /proc/kallsyms that names a module, without its address.
func redactSymbol(line []byte) []byte {
	tag := bytes.LastIndexByte(line, '\t')
	if tag < 0 || !bytes.HasPrefix(line[tag+1:], []byte("[")) {
		return nil
	}
	hex, _, _ := bytes.Cut(line, []byte(" "))
	if !isAddress(hex) {
		return line
	}
	out := bytes.Clone(line)
	zero(out[:len(hex)])
	return out
}

// redactFunction keeps a line of ftrace's functions that names a module.
func redactFunction(line []byte) []byte {
	if functionTag(line) == "" {
		return nil
	}
	return line
}

// redactHook zeroes the addresses in a line of ftrace's functions in use.
func redactHook(line []byte) []byte {
	out := line
	for start := 0; ; {
		i := bytes.Index(line[start:], []byte("0x"))
		if i < 0 {
			return out
		}
		start += i + len("0x")
		end := start + hexLen(line[start:])
		const shortest = 8 // an offset within a function has fewer digits
		if end-start < shortest {
			continue
		}
		if len(out) > 0 && &out[0] == &line[0] {
			out = bytes.Clone(line)
		}
		zero(out[start:end])
	}
}

func hexLen(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "0123456789abcdefABCDEF")) }

// redactDebug keeps the module of a line of dynamic debug's messages, which are thousands.
func redactDebug(line []byte) []byte {
	if len(line) == 0 || line[0] == '#' {
		return line
	}
	tag := debugTag(line)
	if tag == "" {
		return nil
	}
	return []byte("- [" + tag + "]")
}
