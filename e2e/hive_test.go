// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
)

// A hiveNode is a key as hivexml prints it.
type hiveNode struct {
	Name   string `xml:"name,attr"`
	Values []struct {
		Key   string   `xml:"key,attr"`
		Value string   `xml:"value,attr"`
		Parts []string `xml:"string"`
	} `xml:"value"`
	Nodes []hiveNode `xml:"node"`
}

func (n *hiveNode) node(name string) *hiveNode {
	for i := range n.Nodes {
		if n.Nodes[i].Name == name {
			return &n.Nodes[i]
		}
	}
	return nil
}

func (n *hiveNode) value(name string) (text string, parts []string) {
	for _, v := range n.Values {
		if v.Key == name {
			return v.Value, v.Parts
		}
	}
	return "", nil
}

// hivexScript makes services of every kind: names in several scripts, long and short values, lists,
// and keys that are not drivers.
func hivexScript(n int, out string) string {
	var s strings.Builder
	for i := range n {
		name := []string{"ketdrv%d", "Драйвер%d", "驱动%d", "ket drv %d"}[i%4]
		typ := []int{1, 2, 8, 0x10, 0x20, 1}[i%6]
		fmt.Fprintf(&s, "cd \\ControlSet001\\Services\nadd "+name+"\ncd "+name+"\n", i, i)
		values := []string{fmt.Sprintf("Type\ndword:%d", typ), fmt.Sprintf("Start\ndword:%d", i%5),
			"ErrorControl\ndword:1"}
		switch i % 3 {
		case 0:
			values = append(values, fmt.Sprintf("ImagePath\nexpandstring:System32\\drivers\\file%d.sys", i))
		case 1:
			values = append(values, fmt.Sprintf("ImagePath\nstring:\\??\\C:\\Programme\\%s\\file%d.sys",
				strings.Repeat("lang", i%50), i))
		}
		if i%7 == 0 {
			var list []byte
			for _, u := range utf16.Encode([]rune(fmt.Sprintf("FltMgr\x00Зависимость%d\x00\x00", i))) {
				list = append(list, byte(u), byte(u>>8))
			}
			values = append(values, "DependOnService\nhex:7:"+hexBytes(list))
		}
		fmt.Fprintf(&s, "setval %d\n%s\n", len(values), strings.Join(values, "\n"))
	}
	fmt.Fprintf(&s, "commit %s\n", out)
	return s.String()
}

func hexBytes(b []byte) string {
	words := make([]string, len(b))
	for i := range b {
		words[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(words, ",")
}

// A registry that hivex wrote says to lkm, of a mounted volume, what it says to hivex.
func TestHive(t *testing.T) {
	lab.Tools(t, "hivexsh", "hivexml")
	root := t.TempDir()
	config := filepath.Join(root, "WINDOWS", "system32", "config")
	for _, dir := range []string{config, filepath.Join(root, "WINDOWS", "system32", "drivers"),
		filepath.Join(root, "WINDOWS", "system32", "DriverStore", "FileRepository")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	base, hive := filepath.Join(t.TempDir(), "base"), filepath.Join(config, "SYSTEM")
	if err := os.WriteFile(base, hivetest.System(), 0o644); err != nil {
		t.Fatal(err)
	}
	const services = 1000
	cmd := exec.CommandContext(t.Context(), "hivexsh", "-w", base)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(hivexScript(services, hive))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("hivexsh: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "hivexml", hive).Output()
	if err != nil {
		t.Fatalf("hivexml: %v", err)
	}
	var tree struct {
		Root hiveNode `xml:"node"`
	}
	if err := xml.Unmarshal(out, &tree); err != nil {
		t.Fatal(err)
	}
	want := tree.Root.node("ControlSet001").node("Services")
	if len(want.Nodes) != services+4 {
		t.Fatalf("hivexml has %d services", len(want.Nodes))
	}

	local := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(local, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), local, "list", "--installed", "--format", "json",
		"--root", root, "--strict")
	var stderr strings.Builder
	list.Stderr = &stderr
	text, err := list.Output()
	if err != nil {
		t.Fatalf("lkm list: %v\n%s", err, &stderr)
	}
	var snap struct {
		Modules []struct {
			Path    string
			Windows struct {
				Services []struct {
					Name, Start, ImagePath string
					DependsOn              []string
				}
			}
		}
	}
	if err := json.Unmarshal(text, &snap); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range snap.Modules {
		for _, s := range m.Windows.Services {
			got[s.Name] = strings.Join([]string{s.Start, s.ImagePath, strings.Join(s.DependsOn, "|")}, "\n")
		}
	}
	drivers := 0
	for i := range want.Nodes {
		n := &want.Nodes[i]
		typ, _ := n.value("Type")
		start, _ := n.value("Start")
		k, err := strconv.Atoi(start)
		// What starts with the boot loader or the kernel is loaded as a driver, whatever its type is.
		if kind, _ := strconv.Atoi(typ); (kind&0x0b == 0 || kind&0x30 != 0) && (err != nil || k > 1) {
			if _, ok := got[n.Name]; ok {
				t.Errorf("%s is listed, and no driver", n.Name)
			}
			continue
		}
		drivers++
		if err != nil {
			t.Fatalf("%s: start %q", n.Name, start)
		}
		image, _ := n.value("ImagePath")
		_, depends := n.value("DependOnService") // hivex also gives the empty string that ends the list
		if line := strings.Join([]string{startWords[k], image, strings.TrimSuffix(strings.Join(depends, "|"), "|")},
			"\n"); got[n.Name] != line {
			t.Errorf("%s: %q, hivex has %q", n.Name, got[n.Name], line)
		}
	}
	if drivers != len(got) || drivers < services/2 {
		t.Errorf("%d drivers by lkm, %d by hivex", len(got), drivers)
	}
}
