// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	texts "github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/lkm"
)

// recordings returns the recorded captures that are read, by their path.
func recordings(t *testing.T) map[string]string {
	t.Helper()
	root := testdata.Dir(t, "captures")
	files, _ := filepath.Glob(filepath.Join(root, "*", "*", "*"))
	found := make(map[string]string)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || len(b) > 256<<10 || !utf8.Valid(b) {
			continue
		}
		if s, err := Read(bytes.NewReader(b), ""); err == nil && len(s.Modules) > 0 {
			name, _ := filepath.Rel(root, file)
			found[filepath.ToSlash(name)] = string(b)
		}
	}
	if len(found) < 60 {
		t.Fatalf("only %d recordings", len(found))
	}
	return found
}

// TestHarmlessEdits reads every recording as it is, and as it comes out of other hands: the same modules.
func TestHarmlessEdits(t *testing.T) {
	prefix := func(s string) func(string) string {
		return func(text string) string {
			return strings.TrimSuffix(s+strings.ReplaceAll(text, "\n", "\n"+s), s)
		}
	}
	edits := map[string]func(string) string{
		"quoted":   prefix("> "),
		"indented": prefix("    "),
		"CRLF":     func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"fenced":   func(s string) string { return "```\n" + s + "\n```\n" },
		"UTF-16": func(s string) string {
			b := []byte{0xff, 0xfe}
			for _, u := range utf16.Encode([]rune(s)) {
				b = append(b, byte(u), byte(u>>8))
			}
			return string(b)
		},
	}
	for name, text := range recordings(t) {
		want, _ := Read(strings.NewReader(text), "")
		for edit, f := range edits {
			if edit == "quoted" && strings.Count(text, "\n") < 2 { // one line may be a prompt
				continue
			}
			if edit == "fenced" && !strings.HasSuffix(text, "\n") || strings.HasPrefix(strings.TrimSpace(text), "<") {
				continue // a line's end is added; XML is not pasted so
			}
			got, err := Read(strings.NewReader(f(text)), "")
			if err != nil {
				t.Errorf("%s, %s: %v", name, edit, err)
				continue
			}
			if diff := cmp.Diff(ids(want), ids(got)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, edit, diff)
			}
			if !equalModules(want, got) {
				t.Errorf("%s, %s: other values", name, edit)
			}
		}
	}
}

func ids(s *lkm.Snapshot) []string {
	var list []string
	for i := range s.Modules {
		list = append(list, s.Modules[i].ID)
	}
	return list
}

// equalModules compares all that the modules say, the kernel's own object included, but for problems: their lines
// differ.
func equalModules(a, b *lkm.Snapshot) bool {
	for i := range a.Modules {
		x, y := a.Modules[i], b.Modules[i]
		x.Problems, y.Problems = nil, nil
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// foreign returns a value of a module that is in another place than in the whole text: in a field that has another
// value there, or no value. A value that the edit cut is the beginning of the whole one.
func foreign(want, got *lkm.Snapshot) string {
	for i := range got.Modules {
		g := &got.Modules[i]
		w := want.Module(g.ID)
		if w == nil {
			continue
		}
		for _, pair := range [][2]string{{w.Version, g.Version}, {w.Path, g.Path}, {w.Description, g.Description},
			{w.License, g.License}, {w.ContentID, g.ContentID}} {
			pair[1] = strings.ReplaceAll(pair[1], "\n", "") // a value of modinfo may have lines
			pair[0] = strings.ReplaceAll(pair[0], "\n", "")
			if !strings.HasPrefix(pair[0], pair[1]) && !strings.HasPrefix(pair[1], pair[0]) {
				return g.ID + ": " + pair[1] + ", not " + pair[0]
			}
		}
		if v := foreignIn(reflect.ValueOf(*w), reflect.ValueOf(*g), 0); v != "" {
			return g.ID + ": " + v
		}
	}
	return ""
}

// foreignIn is foreign for the texts of the kernels' own objects: each field of them, and each text of a list.
func foreignIn(want, got reflect.Value, depth int) string {
	for i := range got.NumField() {
		f, w, g := got.Type().Field(i), want.Field(i), got.Field(i)
		if !f.IsExported() || f.Name == "Problems" || depth == 0 && g.Kind() != reflect.Pointer {
			continue // the neutral ones are compared one by one
		}
		if g.Kind() == reflect.Pointer {
			if g.IsNil() || w.IsNil() {
				continue
			}
			w, g = w.Elem(), g.Elem()
		}
		switch {
		case g.Kind() == reflect.Struct && depth < 4:
			if v := foreignIn(w, g, depth+1); v != "" {
				return f.Name + "." + v
			}
		case g.Kind() == reflect.String && !related(w.String(), g.String()):
			return f.Name + ": " + g.String() + ", not " + w.String()
		case g.Kind() == reflect.Slice && g.Type().Elem().Kind() == reflect.String && w.Len() > 0:
			for j := range g.Len() {
				known := false
				for k := range w.Len() {
					known = known || related(w.Index(k).String(), g.Index(j).String())
				}
				if !known {
					return f.Name + ": " + g.Index(j).String()
				}
			}
		}
	}
	return ""
}

// related reports whether one of two texts is the beginning of the other, whatever their lines.
func related(a, b string) bool {
	a, b = strings.ReplaceAll(a, "\n", ""), strings.ReplaceAll(b, "\n", "")
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// TestFiltered puts the command before a recording that made a selection of it: it is never a whole list.
func TestFiltered(t *testing.T) {
	for name, text := range recordings(t) {
		best, _ := detect(clean(t, text))
		for _, r := range readers() {
			if len(r.tools) == 0 || best.snapshot.OS != r.os || r.kind == LinuxModinfo {
				continue
			}
			got, err := Read(strings.NewReader("$ "+r.tools[0]+" | grep x\n"+text), r.kind)
			if err == nil && len(got.Modules) > 0 && whole(got) {
				t.Errorf("%s as %s: a selection is a whole list", name, r.kind)
			}
		}
	}
}

// TestCut ends every recording within a line: it is never a whole list, unless nothing but blanks and words that are no
// rows were cut.
func TestCut(t *testing.T) {
	for name, text := range recordings(t) {
		want, _ := Read(strings.NewReader(text), "")
		kind := kindOf(t, text)
		for _, share := range []int{30, 50, 70, 90} {
			cut := strings.TrimRight(text[:len(text)*share/100], "\n")
			got, err := Read(strings.NewReader(cut), kind)
			if err == nil {
				if v := foreign(want, got); v != "" {
					t.Errorf("%s, %d %%: %s", name, share, v)
				}
			}
			if err == nil && len(got.Modules) < len(want.Modules) && whole(got) && !blind[kind] {
				t.Errorf("%s, %d %%: %d of %d modules are a whole list", name, share, len(got.Modules),
					len(want.Modules))
			}
		}
	}
}

// blind are the kinds whose texts do not show where they end.
var blind = map[Kind]bool{Moddebug: true, AbendLog: true}

// TestWrapped breaks the lines of every recording at 80 characters: no module is lost without a word.
func TestWrapped(t *testing.T) {
	for name, text := range recordings(t) {
		want, _ := Read(strings.NewReader(text), "")
		kind := kindOf(t, text)
		var b strings.Builder
		for line := range strings.Lines(text) {
			r := []rune(strings.TrimRight(line, "\r\n"))
			for ; len(r) > 80; r = r[80:] {
				b.WriteString(string(r[:80]) + "\n")
			}
			b.WriteString(string(r) + "\n")
		}
		got, err := Read(strings.NewReader(b.String()), kind)
		if err == nil {
			if v := foreign(want, got); v != "" && !strings.Contains(v, "mod_ucgroup not found.") {
				t.Errorf("%s: %s", name, v) // the recording has an error line within a line, which is then two
			}
		}
		if err == nil && len(got.Modules) < len(want.Modules) && whole(got) && !blind[kind] {
			t.Errorf("%s: %d of %d modules are a whole list", name, len(got.Modules), len(want.Modules))
		}
	}
}

// TestOwnKind recognizes every recording as one kind from its beginning and from the whole.
func TestOwnKind(t *testing.T) {
	for name, text := range recordings(t) {
		head := text[:min(len(text), headSize)]
		if a, b := kindOf(t, text), kindOf(t, head[:strings.LastIndexByte(head, '\n')+1]); a != b && a != MSInfo {
			t.Errorf("%s is %s, its beginning %s", name, a, b)
		}
	}
}

func kindOf(t *testing.T, raw string) Kind {
	_, kind := bestOf(clean(t, raw), func(Kind) bool { return true })
	return kind
}

func whole(s *lkm.Snapshot) bool {
	for _, src := range s.Sources {
		if src.Outcome != lkm.OutcomeOK {
			return false
		}
	}
	return len(s.Problems) == 0
}

func clean(t *testing.T, raw string) string {
	t.Helper()
	return texts.Clean([]byte(raw))
}

// TestPromptAround puts the tool's command before every recording, each sample and each invented text, and a prompt
// behind it: a whole list stays whole.
func TestPromptAround(t *testing.T) {
	texts := recordings(t)
	for _, s := range samples {
		texts[s.name] = s.text
	}
	for _, c := range slices.Concat(inventedLinux, inventedWindows, inventedMac, inventedUnix) {
		if c.want == "whole" {
			texts[c.name] = c.text
		}
	}
	for name, text := range texts {
		kind := kindOf(t, text)
		r, _ := kind.reader()
		want, err := Read(strings.NewReader(text), kind)
		if err != nil || len(r.tools) == 0 || !whole(want) || !strings.HasSuffix(text, "\n") ||
			kind == MSInfo || kind == RegText { // files
			continue
		}
		for _, prompts := range [][2]string{{"$ " + r.tools[0] + "\n", "$ \n"}, {"C:\\>" + r.tools[0] + "\n",
			"C:\\>\n"}} {
			got, err := Read(strings.NewReader(prompts[0]+text+prompts[1]), kind)
			if err != nil || !whole(got) || len(got.Modules) != len(want.Modules) {
				t.Errorf("%s as %s after %q: %v\n%s", name, kind, prompts[0], err, inventedDump(got))
			}
		}
	}
}
