// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// kernelConfigFile is the running kernel's configuration, where it was built with one to show.
const kernelConfigFile = "proc/config.gz"

// A kernelConfig is the configuration that a kernel was built with: the options that are set.
type kernelConfig struct {
	// File is where it was read.
	File string
	// Options are by name, such as CONFIG_MODULES.
	Options map[string]kernelOption
	// Off are the options that the file says are not set, with their lines.
	Off map[string]int
}

// A kernelOption is one option of a kernel configuration.
type kernelOption struct {
	// Value is y, m, a number, or a string without its quotes.
	Value string
	// Line is its line, counted from 1.
	Line int
}

// parseKernelConfig reads the text of a .config. Lines that are neither an option nor "# CONFIG_X
// is not set" are passed over. Text without a single option returns an error: it is not a configuration.
func parseKernelConfig(text []byte) (*kernelConfig, error) {
	c := &kernelConfig{Options: make(map[string]kernelOption), Off: make(map[string]int)}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := string(bytes.TrimSpace(line))
		if off, ok := strings.CutPrefix(s, "# CONFIG_"); ok {
			if name, ok := strings.CutSuffix(off, " is not set"); ok {
				c.Off["CONFIG_"+name] = n
			}
			continue
		}
		name, value, ok := strings.Cut(s, "=")
		if !ok || !strings.HasPrefix(name, "CONFIG_") {
			continue
		}
		if len(value) > 1 && value[0] == '"' {
			value = strings.TrimSuffix(value[1:], `"`)
		}
		c.Options[name] = kernelOption{Value: value, Line: n}
	}
	if len(c.Options) == 0 {
		return nil, &fact.ParseError{Source: "kernel configuration", Reason: "holds no option"}
	}
	return c, nil
}

// Get returns the option's value and line: "n" for one that is not set, which the file need not
// say. Options that another one brings along are left out of the file when that one is off.
func (c *kernelConfig) Get(name string) (value string, line int) {
	if o, ok := c.Options[name]; ok {
		return o.Value, o.Line
	}
	return "n", c.Off[name]
}

// has reports whether an option is built in.
func (c *kernelConfig) has(option string) bool {
	value, _ := c.Get(option)
	return value == "y"
}

// kernelConfigFiles are the places of the configuration of one release, most trusted first.
func kernelConfigFiles(release string, live bool) []string {
	var files []string
	if live {
		files = append(files, kernelConfigFile)
	}
	if release == "" || !fs.ValidPath(release) || strings.Contains(release, "/") {
		return files
	}
	return append(files,
		"boot/config-"+release,
		"lib/modules/"+release+"/config",
		"usr/lib/modules/"+release+"/config",
		"lib/modules/"+release+"/build/.config",
		"usr/lib/ostree-boot/config-"+release)
}

// readKernelConfig reads the configuration of the kernel release: the running kernel's own
// /proc/config.gz when live is set, else a file of that release below /boot or /lib/modules. The error is that of the
// most important file; it matches fs.ErrNotExist if no such file exists.
func readKernelConfig(fsys fs.FS, release string, live bool) (*kernelConfig, error) {
	var first error
	for _, name := range kernelConfigFiles(release, live) {
		c, err := readConfigFile(fsys, name)
		if err == nil {
			return c, nil
		}
		if first == nil || (errors.Is(first, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist)) {
			first = err
		}
	}
	if first == nil || errors.Is(first, fs.ErrNotExist) {
		return nil, fmt.Errorf("none of /proc/config.gz, /boot/config-%[1]s and /lib/modules/%[1]s/config: %[2]w",
			orRelease(release), fs.ErrNotExist)
	}
	return nil, first
}

func orRelease(release string) string {
	if release == "" {
		return "RELEASE"
	}
	return release
}

func readConfigFile(fsys fs.FS, name string) (*kernelConfig, error) {
	text, err := limit.ReadFile(fsys, name, limit.Proc)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil, &fact.ParseError{Source: name, Reason: err.Error()}
		}
		text, err = limit.AppendAll(z, nil, name, limit.Proc)
		if errors.Is(err, fact.ErrTooLarge) {
			return nil, err
		}
		if err != nil {
			return nil, &fact.ParseError{Source: name, Reason: err.Error()}
		}
	}
	c, err := parseKernelConfig(text)
	if err != nil {
		var pe *fact.ParseError
		if errors.As(err, &pe) {
			pe.Source = name
		}
		return nil, err
	}
	c.File = name
	return c, nil
}
