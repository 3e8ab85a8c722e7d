// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestBootconfigWords: the forms of the kernel's documentation and of its own tests (tools/bootconfig/samples), in
// words of our own.
func TestBootconfigWords(t *testing.T) {
	for text, want := range map[string]string{
		"kernel.module_blacklist = dummy\n":                     `module_blacklist="dummy" `,
		"kernel {\n\tquiet\n\tmodprobe.blacklist = a, b # x\n}": `quiet modprobe.blacklist="a" modprobe.blacklist="b" `,
		"kernel.a = 'x;y' ; init.b = 1; kernel.c.d = \"q\"":     `a="x;y" c.d="q" `,
		"kernel.a = 1\nkernel.a := 2\nkernel.a += 3":            `a="2" a="3" `,
		"kernel { a = 1 }\nkernel { b { c = 2 } }":              `a="1" b.c="2" `,
		"kernel.a =\nkernel.b\n":                                `a="kernel.b" `,
		"kernel.a = # no value yet\n 1\n":                       `a="1" `,
		"other = 1\n":                                           "",
		"kernel.a = 1\nkernel.a = 2\n":                          "!",
		"kernel.a + 2\n":                                        "!",
		"kernel { a = 1":                                        "!", "a = 1 }": "!",
		"kernel.a! = 1\n": "!", "kernel.a = \"x\n": "!",
		"kernel.a = \"x\" y\n": "!", "kernel.a = \x01\n": "!", "kernel..a = 1\n": "!",
		strings.Repeat("a {", 20) + strings.Repeat("}", 20): "!", strings.Repeat("a;", maxBootconfig): "!",
	} {
		got, ok := BootconfigWords(text)
		if !ok {
			got = "!"
		}
		if got != want {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

// withBootconfig is an initial file system with a bootconfig after it.
func withBootconfig(data []byte, text string) []byte {
	sum := uint32(0)
	for _, b := range []byte(text) {
		sum += uint32(b)
	}
	data = append(data[:len(data):len(data)], text...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(text)))
	data = binary.LittleEndian.AppendUint32(data, sum)
	return append(data, bootconfigEnd...)
}

// TestCutBootconfig: a bootconfig after the archives is not part of them, and nothing else is cut off.
func TestCutBootconfig(t *testing.T) {
	const text = "kernel.quiet\n"
	whole := withBootconfig([]byte("archive"), text)
	wrong := withBootconfig([]byte("archive"), text)
	wrong[len("archive")]++
	long := withBootconfig(nil, text)[1:]
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"at the end": {whole, text}, "aligned": {append(whole[:len(whole):len(whole)], 0, 0, 0), text},
		"too far from the end": {append(whole[:len(whole):len(whole)], 0, 0, 0, 0), ""}, "changed": {wrong, ""},
		"longer than the file": {long, ""}, "none": {[]byte("archive"), ""}, "nothing": {nil, ""},
		"its end alone": {[]byte(bootconfigEnd), ""},
	} {
		rest, got := cutBootconfig(tt.data)
		if got != tt.want || tt.want == "" && len(rest) != len(tt.data) || tt.want != "" && string(rest) != "archive" {
			t.Errorf("%s: %q, %q", name, rest, got)
		}
	}
}

// TestBootconfigOfInitramfs: a packed archive with a bootconfig after it is read whole.
func TestBootconfigOfInitramfs(t *testing.T) {
	data := withBootconfig(linuxtest.Gzip(linuxtest.Archive("lib/modules/6/a.ko", "x")), "kernel.quiet\n")
	var r fact.Report
	i, err := ReadInitramfs(linuxtest.Files(map[string]string{"i": string(data)}), []string{"i"}, &r)
	if err != nil || len(r.Problems) > 0 || len(i.Modules) != 1 || i.Bootconfig != "kernel.quiet\n" {
		t.Errorf("%+v, %v, %v", i, err, r.Problems)
	}
}

func FuzzBootconfig(f *testing.F) {
	f.Add("kernel.a = 'b', c\nkernel { d }")
	f.Fuzz(func(t *testing.T, text string) {
		words, ok := BootconfigWords(text)
		if !ok && words != "" || len(words) > 40*maxBootconfig {
			t.Errorf("%d bytes of words, %v", len(words), ok)
		}
		if rest, config := cutBootconfig([]byte(text)); len(rest)+len(config) > len(text) {
			t.Errorf("%q, %q", rest, config)
		}
	})
}
