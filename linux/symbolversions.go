// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// Caps of a list of symbol versions; a distribution's has some 30,000 lines of 60 bytes.
const (
	maxSymvers     = 32 << 20
	maxSymversLine = 4096
	maxSymversSize = 1 << 19 // symbols
)

// symversFiles are where a release's list of symbol versions may be: of the headers that modules are built with, and of
// Fedora's and RHEL's kernels.
func symversFiles(release string) []string {
	return []string{"lib/modules/" + release + "/build/Module.symvers", "usr/lib/modules/" + release + "/symvers.xz",
		"usr/lib/modules/" + release + "/symvers.gz", "boot/symvers-" + release + ".xz",
		"boot/symvers-" + release + ".gz", "usr/src/linux-headers-" + release + "/Module.symvers",
		"usr/src/kernels/" + release + "/Module.symvers"}
}

// symbolVersions are the checksums of a kernel's symbols, and where they are from.
type symbolVersions struct {
	crcs map[string]string
	file string
}

// kernelVersions returns what is known of the kernel's symbol versions: its list, else what modules that belong to it
// import. They are read once.
func (c *checker) kernelVersions() symbolVersions {
	if c.kept.symvers.crcs != nil {
		return c.kept.symvers
	}
	v := symbolVersions{crcs: make(map[string]string)}
	for _, name := range symversFiles(c.machine.Release) {
		found, err := c.readSymvers(name)
		if err == nil && len(found) > 0 {
			v = symbolVersions{found, name}
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !fact.Lacks(err) {
			c.other.Problem(SourceTree, "", "symbols", err)
		}
	}
	if v.file == "" {
		c.versionsOfModules(&v)
	}
	c.kept.symvers = v
	return v
}

// readSymvers reads a list: a checksum, a symbol, and where it is, divided by tabs. Later lines of a name count.
func (c *checker) readSymvers(name string) (map[string]string, error) {
	data, err := limit.ReadFile(c.machine.FS, name, maxSymvers)
	if err != nil {
		return nil, err
	}
	return parseSymvers(data, name, c.other.Budget)
}

// parseSymvers reads the text of a list, which may be compressed.
func parseSymvers(data []byte, name string, budget *fact.Budget) (map[string]string, error) {
	item := budget.Item(int64(len(data)))
	defer item.Done()
	var in io.Reader = bytes.NewReader(data)
	if compression := ko.CompressionOf(data); compression != ko.CompressionNone {
		unpacked, err := ko.Decompress(compression, data, name, maxSymvers)
		if err != nil {
			return nil, err
		}
		in = unpacked
	}
	found := make(map[string]string)
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, maxSymversLine), maxSymversLine)
	for lines.Scan() {
		if err := item.Work(int64(len(lines.Bytes()))); err != nil {
			return nil, err
		}
		crc, rest, ok := strings.Cut(lines.Text(), "\t")
		symbol, _, _ := strings.Cut(rest, "\t")
		if !ok || len(crc) != len("0x00000000") || symbol == "" || len(found) == maxSymversSize {
			continue
		}
		if err := item.Hold(int64(len(symbol) + 64)); err != nil {
			return nil, err
		}
		found[symbol] = strings.ToLower(crc)
	}
	return found, lines.Err()
}

// versionsOfModules takes what the kernel's own modules import: of each symbol on which they agree.
func (c *checker) versionsOfModules(v *symbolVersions) {
	lines := c.tree.DepLines()
	seen := 0
	for i := range lines {
		if !strings.HasPrefix(lines[i].Path, "kernel/") || seen == maxReferences {
			continue
		}
		release, _, _ := strings.Cut(c.factsOf(lines[i].Path).vermagic, " ")
		if seen++; release != c.machine.Release {
			continue // none of the kernel's own
		}
		for _, s := range c.importsOf(lines[i].Path) {
			if old, known := v.crcs[s.Name]; known && old != s.CRC {
				s.CRC = "" // they do not agree
			}
			v.crcs[s.Name] = s.CRC
		}
	}
	if seen > 0 {
		v.file = c.tree.Path("kernel")
	}
}

// importsOf returns the symbols that a file needs, with their checksums; none of a file that cannot be read.
func (c *checker) importsOf(file string) []ko.Symbol {
	f, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(file), ko.Options{Symbols: true}, c.other.Part())
	if err != nil || f.Symbols == nil {
		return nil
	}
	return f.Symbols.Imports
}

// refusesVersions says whether the kernel refuses a file for a symbol whose checksum is not its own (check_version).
// The kernel's own modules are taken to fit. It does not apply if nothing differs, and for a file of the same release
// also if not all is known.
// modversions says whether the kernel has CONFIG_MODVERSIONS.
func (c *checker) refusesVersions(modversions fact.Tri, t target, sameRelease bool) fact.Answer {
	if modversions == "" && !sameRelease {
		return fact.UnsureOf(fact.Reason{Code: ReasonSymbolVersion, File: "/" + c.tree.Path(t.file),
			Text:   "the file was built for another release, which only a kernel with CONFIG_MODVERSIONS takes",
			Unread: "the kernel's configuration"})
	}
	if modversions != fact.Yes || strings.HasPrefix(t.file, "kernel/") && sameRelease {
		return fact.Answer{}
	}
	own := c.kernelVersions()
	why := fact.Reason{Code: ReasonSymbolVersion, File: "/" + c.tree.Path(t.file)}
	compared, unknown := 0, ""
	for _, s := range c.importsOf(t.file) {
		crc := own.crcs[s.Name]
		switch {
		case s.CRC == "":
		case crc == "":
			unknown = s.Name
		case crc != s.CRC:
			why.Text = escape.Text(fmt.Sprintf("the file was built for %s with checksum %s; the kernel's is %s (/%s)",
				s.Name, s.CRC, crc, own.file))
			return fact.Stops(why)
		default:
			compared++
		}
	}
	if sameRelease || compared > 0 && unknown == "" {
		return fact.Answer{}
	}
	why.Text = "the file was built for another release, and whether its symbols fit this kernel's is not known"
	why.Unread = "the checksums of the kernel's symbols"
	if unknown != "" {
		why.Unread = "the checksum of the kernel's " + escape.Text(unknown)
	}
	return fact.UnsureOf(why)
}

// refusesNoVersions says whether the kernel refuses a file without symbol versions: without CONFIG_MODULE_FORCE_LOAD,
// try_to_force_load does. It does not apply to other kernels and files.
func (c *checker) refusesNoVersions(modversions, forceLoad fact.Tri, t target) fact.Answer {
	if modversions != fact.Yes || forceLoad != fact.No {
		return fact.Answer{}
	}
	why := fact.Reason{Code: ReasonSymbolVersion, File: "/" + c.tree.Path(t.file),
		Text: "the file has no section __versions, and this kernel takes none without"}
	switch c.hasVersions(t.file) {
	case fact.No:
		for _, s := range c.importsOf(t.file) {
			if s.CRC != "" {
				return fact.Answer{} // __version_ext_crcs has them
			}
		}
		return fact.Stops(why)
	case "":
		why.Unread = "the section __versions of the file"
		return fact.UnsureOf(why)
	}
	return fact.Answer{}
}
