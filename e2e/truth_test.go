// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
)

// A truth is what one kernel says of a loaded module in its own files, read by the plainest code
// and by nothing of the library. Texts are as the kernel prints them; a file that does not exist is
// "-".
type truth struct {
	name, size, refs, state, address, letters string // /proc/modules
	usedBy                                    []string
	permanent                                 bool

	version, srcversion, initstate, coresize, initsize, taint string // /sys/module/NAME
	buildID                                                   string
	holders                                                   []string
	requires                                                  []string // the modules that name this one as a user
	lsmod                                                     []string // kmod's words: size, refs, users
}

// truths reads everything about every loaded module, as root.
func truths(t *testing.T, g *lab.Guest, list string) map[string]truth {
	t.Helper()
	all := map[string]truth{}
	for line := range strings.Lines(list) {
		m := parseLine(t, line)
		m.readSys(t, g)
		all[m.name] = m
	}
	for _, used := range slices.Sorted(maps.Keys(all)) {
		for _, user := range all[used].usedBy {
			m := all[user]
			m.requires = append(m.requires, used)
			all[user] = m
		}
	}
	readLsmod(t, g, all)
	return all
}

// parseLine splits a line of /proc/modules.
func parseLine(t *testing.T, line string) truth {
	t.Helper()
	f := strings.Fields(line)
	if len(f) == 6 {
		f = append(f, "()")
	}
	if len(f) != 7 {
		t.Fatalf("/proc/modules: %q", line)
	}
	m := truth{name: f[0], size: f[1], refs: f[2], state: f[4], address: f[5], letters: strings.Trim(f[6], "()+-")}
	for user := range strings.SplitSeq(strings.TrimSuffix(f[3], ","), ",") {
		switch user {
		case "-":
		case "[permanent]":
			m.permanent = true
		default:
			m.usedBy = append(m.usedBy, user)
		}
	}
	slices.Sort(m.usedBy)
	return m
}

// readSys reads a module's directory in sysfs.
func (m *truth) readSys(t *testing.T, g *lab.Guest) {
	t.Helper()
	dir := "/sys/module/" + m.name + "/"
	for name, field := range map[string]*string{
		"version": &m.version, "srcversion": &m.srcversion, "initstate": &m.initstate,
		"coresize": &m.coresize, "initsize": &m.initsize, "taint": &m.taint, "notes/.note.gnu.build-id": &m.buildID,
	} {
		data, err := g.ReadFile(t.Context(), dir+name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			*field = "-"
		case err != nil:
			t.Fatal(err)
		default:
			*field = strings.TrimSuffix(string(data), "\n")
		}
	}
	const noteHead = 16 // three numbers and the owner's name, "GNU"
	if len(m.buildID) > noteHead {
		m.buildID = hex.EncodeToString([]byte(m.buildID[noteHead:]))
	}
	for _, e := range g.Dir(dir + "holders") {
		m.holders = append(m.holders, e.Name)
	}
}

// readLsmod adds what kmod says.
func readLsmod(t *testing.T, g *lab.Guest, all map[string]truth) {
	t.Helper()
	_, list, _ := strings.Cut(string(g.Root("lsmod")), "\n")
	rows := 0
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		m := all[f[0]]
		m.lsmod = f[1:]
		all[f[0]] = m
		rows++
	}
	if rows != len(all) {
		t.Fatalf("lsmod shows %d modules, /proc/modules fewer: %d", rows, len(all))
	}
}

// A view is what the library must say of a module: its JSON, with the fields that the kernel's
// files decide and no others.
type view struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Version   string   `json:"version"`
	Size      *int64   `json:"size"`
	Address   string   `json:"address"`
	Refs      *int64   `json:"refs"`
	Requires  []string `json:"requires"`
	UsedBy    []string `json:"usedBy"`
	ContentID string   `json:"contentId"`
	Origin    struct {
		Class string `json:"class"`
	} `json:"origin"`
	Signature struct {
		Status   string `json:"status"`
		Evidence string `json:"evidence"`
	} `json:"signature"`
	Linux struct {
		State      string   `json:"state"`
		Refcnt     *int64   `json:"refcnt"`
		Permanent  bool     `json:"permanent"`
		Taints     []string `json:"taints"`
		Version    string   `json:"version"`
		Srcversion string   `json:"srcversion"`
		InitSize   *int64   `json:"initSize"`
		CoreSize   *int64   `json:"coreSize"`
		Parameters []struct {
			Name     string `json:"name"`
			Value    string `json:"value"`
			Readable string `json:"readable"`
		} `json:"parameters"`
		Sections []struct {
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"sections"`
	} `json:"linux"`
}

// words are the library's words for the kernel's states.
var words = map[string]string{"Live": "loaded", "Loading": "loading", "Unloading": "unloading"}

// differences lists where the library's view is not what the kernel says.
func (m truth) differences(v view, addresses bool) []string {
	users := slices.Sorted(slices.Values(v.UsedBy))
	var all []string
	check := func(field, got, want string) {
		if got != want {
			all = append(all, fmt.Sprintf("%s: %s is %q, the kernel says %q", m.name, field, got, want))
		}
	}
	check("id", v.ID, "linux_module:"+m.name)
	check("kind", v.Kind, "linux_module")
	check("name", v.Name, m.name)
	check("state", v.State, words[m.state])
	check("size", number(v.Size), m.size)
	check("refs", number(v.Refs), m.refs)
	check("usedBy", strings.Join(users, ","), strings.Join(m.usedBy, ","))
	check("usedBy against holders", strings.Join(users, ","), strings.Join(m.holders, ","))
	check("usedBy and requires are known", fmt.Sprint(v.UsedBy != nil, v.Requires != nil), "true true")
	check("requires", strings.Join(v.Requires, ","), strings.Join(m.requires, ","))
	check("address", v.Address, m.shownAddress(addresses))
	check("origin.class", v.Origin.Class, when(strings.ContainsAny(m.letters, "OP"), "third_party"))
	check("signature.evidence", v.Signature.Evidence, when(strings.Contains(m.letters, "E"), "taint_e"))
	check("signature.status", v.Signature.Status, "")
	check("version", v.Version, absent(m.version))
	check("contentId", v.ContentID, absent(m.buildID))
	check("linux.state", v.Linux.State, m.state)
	check("linux.refcnt", number(v.Linux.Refcnt), m.refs)
	check("linux.permanent", strconv.FormatBool(v.Linux.Permanent), strconv.FormatBool(m.permanent))
	check("linux.taints", strings.Join(v.Linux.Taints, ""), m.letters)
	check("linux.taints against taint", strings.Join(v.Linux.Taints, ""), m.taint)
	check("linux.version", v.Linux.Version, absent(m.version))
	check("linux.srcversion", v.Linux.Srcversion, absent(m.srcversion))
	check("linux.initSize", number(v.Linux.InitSize), m.initsize)
	check("linux.coreSize", number(v.Linux.CoreSize), m.coresize)
	return append(all, m.lsmodDifferences(v)...)
}

// shownAddress is the address that has to be in the JSON. A module without code of its own beyond
// initialization has none: where others have an address, the kernel prints 0 for it.
func (m truth) shownAddress(asked bool) string {
	digits := strings.TrimPrefix(m.address, "0x")
	if !asked || strings.Trim(digits, "0") == "" {
		return ""
	}
	return fmt.Sprintf("0x%016s", digits)
}

// when gives a word if something is so.
func when(so bool, word string) string {
	if so {
		return word
	}
	return ""
}

// lsmodDifferences compares with a row of kmod's lsmod, which prints coresize, the reference count and the users.
func (m truth) lsmodDifferences(v view) []string {
	users := append(slices.Clone(m.lsmod), "")[2] // no third column: nobody
	got := fmt.Sprintf("%s %s %s", number(v.Linux.CoreSize), number(v.Refs), sortedList(strings.Join(v.UsedBy, ",")))
	if want := fmt.Sprintf("%s %s %s", m.lsmod[0], m.lsmod[1], sortedList(users)); got != want {
		return []string{fmt.Sprintf("%s: lkm says %q, lsmod %q", m.name, got, want)}
	}
	return nil
}

// sortedList sorts words separated by commas.
func sortedList(list string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(list, ",")), ",")
}

// number prints a count, "-" when it is absent.
func number(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

// absent turns the text for a missing file into the text for a missing field.
func absent(s string) string {
	if s == "-" {
		return ""
	}
	return s
}
