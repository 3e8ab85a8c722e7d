// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"path"
	"strings"
)

// redactorOfBoot returns what Redact does with a boot loader's file that is neither grub.cfg nor a
// loader entry, nil for nothing. Of unified images and initial file systems nothing is kept: they
// hold command lines, keys and passwords in forms of their own.
func redactorOfBoot(key string) func([]byte) []byte {
	base := path.Base(key)
	if strings.HasPrefix(base, "initr") && strings.Contains(key, "lib/modules/") {
		return redactAll
	}
	if !strings.HasPrefix(key, "boot/") && !strings.HasPrefix(key, "efi/") {
		return nil
	}
	switch {
	case base == "cmdline.txt":
		return byLine(redactCommandLine)
	case base == "grubenv":
		return byLine(redactGrubEnv)
	case base == "extlinux.conf", base == "syslinux.cfg":
		return byLine(redactAppend)
	case strings.HasSuffix(strings.ToLower(base), ".efi"), strings.HasPrefix(base, "initr"):
		return redactAll
	}
	return nil
}

// redactGrubEnv treats the value of a variable as a command line.
func redactGrubEnv(line []byte) []byte {
	i := bytes.IndexByte(line, '=')
	if i < 0 || line[0] == '#' {
		return line
	}
	return redactWords(line, i+1)
}

// redactAppend does the same for the words of an "append" line.
func redactAppend(line []byte) []byte {
	trimmed := bytes.TrimLeft(line, " \t")
	if len(trimmed) < len("append ") || !strings.EqualFold(string(trimmed[:len("append")]), "append") || !isSpace(trimmed[len("append")]) {
		return line
	}
	return redactWords(line, len(line)-len(trimmed)+len("append"))
}
