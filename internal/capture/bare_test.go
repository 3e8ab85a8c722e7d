// SPDX-License-Identifier: Apache-2.0

package capture

import "testing"

// TestBare empties prompts around JSON and XML, and nothing else.
func TestBare(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"\n\n":                               "\n\n",
		"$ lsmod\nnvme 1 2\n$ \n":            "$ lsmod\nnvme 1 2\n$ \n",
		"[]\n":                               "[]\n",
		"$ jc lsmod\n[{\"a\":1}]\nu@h:~$ \n": "\n[{\"a\":1}]\n\n",
		"[root@h ~]# x\n[\n{\"a\":1}\n]\n":   "\n[\n{\"a\":1}\n]\n",
		"PS C:\\> x /format xml\n<a>1</a>":   "\n<a>1</a>",
		"{\"a\":\"$ b\"}":                    "{\"a\":\"$ b\"}",
		"[ERROR] x\n{\"a\":1}\n":             "[ERROR] x\n{\"a\":1}\n",
	} {
		if got := Bare(in); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

// TestMoved recognizes a header whose columns are in another order.
func TestMoved(t *testing.T) {
	f := Form{Columns: []string{"Module", "Size", "Used"}}
	for line, want := range map[string]bool{
		"Module Size Used by": false, "Module Used by Size": true, "nvme 1 2": false, "Size": false,
	} {
		if got := f.moved(line, false); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if !f.moved("nvme 1 2", true) || f.moved("Module Size Used by", true) {
		t.Error("rows do not end a header, another header does")
	}
}

// TestObjectsAfterErrors reads on after lines that are no JSON, and ends after too many.
func TestObjectsAfterErrors(t *testing.T) {
	for text, want := range map[string]int{
		"{\"a\":1}\n[ERROR] x\n{\"a\":2}\n": 2, "{\"a\":1}\nx\ny\n{\"a\":2}\n": 2, "{\"a\":1}\n{x\n{\"a\":2}\n": 2,
		"[{\"a\":1},\nx\n{\"a\":2}]\n": 1, "{\"a\":1}\n{\"a\":": 1,
	} {
		b := Table{Source: "x"}
		got := b.Objects(text, ObjectForm{Header: func([]string) bool { return false }})
		if len(got) != want || b.Strays == 0 && !b.Cut {
			t.Errorf("%q: %d objects, %d strays", text, len(got), b.Strays)
		}
	}
}

// TestRecordsWithoutBlankLines begins another record where the first key comes again.
func TestRecordsWithoutBlankLines(t *testing.T) {
	b := Table{Source: "x"}
	list := b.Records("a: 1\nb: 2\na: 3\nb: 4\n", ":")
	if len(list) != 2 || list[0].Get("b") != "2" || list[1].Get("a") != "3" || list[1].Line != 3 {
		t.Errorf("%+v", list)
	}
}
