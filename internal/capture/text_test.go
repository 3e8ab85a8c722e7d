// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

func TestPrompt(t *testing.T) {
	long := strings.Repeat("ü", 80)
	for line, want := range map[string]string{
		"$ lsmod": "lsmod", "root@host:~# kldstat -v": "kldstat -v", "fc:9970> lsmod": "lsmod",
		`C:\>driverquery`: "driverquery",
		long + " " + long + " " + long + " " + long + " # lsmod": "lsmod",
		"nvme 57344 3":                        "-",
		strings.Repeat("x", 5000) + "$ lsmod": "-",
	} {
		got, ok := Prompt(line)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%.40q: %q, want %q", line, got, want)
		}
	}
}

func TestReadIsCapped(t *testing.T) {
	if _, _, err := Read(strings.NewReader(strings.Repeat("x", Max+1))); !errors.Is(err, fact.ErrTooLarge) {
		t.Error(err)
	}
}

func TestClean(t *testing.T) {
	const want = "nvme ü\n"
	for name, in := range map[string]string{
		"plain":            "nvme ü\n",
		"CR LF":            "nvme ü\r\n",
		"lone CR":          "nv\rme ü\n",
		"UTF-8 mark":       "\xef\xbb\xbfnvme ü\n",
		"UTF-16 LE mark":   "\xff\xfen\x00v\x00m\x00e\x00 \x00\xfc\x00\n\x00",
		"UTF-16 BE mark":   "\xfe\xff\x00n\x00v\x00m\x00e\x00 \x00\xfc\x00\n",
		"UTF-16 LE":        "n\x00v\x00m\x00e\x00 \x00\xfc\x00\n\x00",
		"UTF-16 BE":        "\x00n\x00v\x00m\x00e\x00 \x00\xfc\x00\n",
		"colors":           "\x1b[1;31mnvme\x1b[0m ü\n",
		"title and escape": "\x1b]0;title\x07nv\x1b(Bme\x1b]8;;x\x1b\\ ü\x1b=\n",
	} {
		if got := Clean([]byte(in)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestUnpaste undoes what mail programs and web pages do to a text.
func TestUnpaste(t *testing.T) {
	const text = "$ kextstat\n  8 a <5 4>\n  9 b\n"
	quote := func(prefix string) string {
		return strings.TrimSuffix(prefix+strings.ReplaceAll(text, "\n", "\n"+prefix), prefix)
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":     {text, text},
		"quoted":      {quote("> "), text},
		"indented":    {quote("    "), text},
		"tab":         {quote("\t"), text},
		"fenced":      {"```text\n" + text + "```\n", "\n" + text + "\n"},
		"entities":    {"<5 &amp;lt; 4&gt;\n", "<5 &amp;lt; 4&gt;\n"},
		"web":         {"8 a &lt;5 4&gt; A&amp;B\n", "8 a <5 4> A&B\n"},
		"panic":       {">!AKeyboard\t1\n>usb.hub\t2\n", ">!AKeyboard\t1\n>usb.hub\t2\n"},
		"prompt":      {"> lsmod\nrow\n", "> lsmod\nrow\n"},
		"own indents": {"  8 a\n  9 b\n", "  8 a\n  9 b\n"},
	} {
		if got := Clean([]byte(c.in)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
