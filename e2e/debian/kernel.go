// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Family is a line of Debian kernel packages, such as series 6.1 and flavour cloud-amd64.
type Family struct{ Series, Flavour string }

// The families that tests boot or read.
var (
	Cloud61  = Family{"6.1", "cloud-amd64"}  // plain .ko
	Cloud612 = Family{"6.12", "cloud-amd64"} // .ko.xz
	Full61   = Family{"6.1", "amd64"}        // plain .ko, over four thousand
	Full612  = Family{"6.12", "amd64"}       // .ko.xz, over four thousand
)

func (f Family) String() string { return f.Series + "-" + f.Flavour }

// A Kernel is the newest package of a family, unpacked, with depmod's indexes made.
type Kernel struct {
	Family
	Package string // the Debian package
	Version string // and its version
	Release string // as uname -r says
	Root    string // where it is unpacked: boot, lib/modules
}

// Image is the kernel that a boot loader would start.
func (k Kernel) Image() string { return filepath.Join(k.Root, "boot", "vmlinuz-"+k.Release) }

// Config is the configuration the kernel was built with.
func (k Kernel) Config() string { return filepath.Join(k.Root, "boot", "config-"+k.Release) }

// Tree is the directory of the kernel's modules.
func (k Kernel) Tree() string { return filepath.Join(k.Root, "lib", "modules", k.Release) }

// Find gives the newest kernel of a family, fetched and unpacked if it is not in the cache.
func Find(ctx context.Context, f Family) (Kernel, error) {
	names, err := packages(ctx, f)
	if err != nil {
		return Kernel{}, err
	}
	if len(names) == 0 {
		return Kernel{}, fmt.Errorf("apt-cache knows no kernel of family %s", f)
	}
	k := Kernel{Family: f, Package: names[0], Release: strings.TrimPrefix(names[0], imagePrefix)}
	if k.Version, err = version(ctx, k.Package); err != nil {
		return Kernel{}, err
	}
	k.Root, err = cached(k.Package+"_"+k.Version, func(dir string) error {
		if err := download(ctx, dir, k.Package+"="+k.Version); err != nil {
			return err
		}
		_, err := run(ctx, dir, "depmod", "-b", dir, k.Release)
		return err
	})
	return k, err
}

const imagePrefix = "linux-image-"

// packages lists a family's packages, newest first: the signed ones, as installed by default.
func packages(ctx context.Context, f Family) ([]string, error) {
	pattern := "^" + imagePrefix + regexp.QuoteMeta(f.Series) + `\.[0-9][^-]*(-[0-9]+)?-` + f.Flavour + "$"
	out, err := run(ctx, "", "apt-cache", "search", "--names-only", pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(numbers(b), numbers(a)) })
	return names, nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// numbers gives the numbers in a name, by which packages of one family differ.
func numbers(name string) []int {
	var all []int
	for _, word := range digits.FindAllString(name, -1) {
		n, err := strconv.Atoi(word)
		if err != nil {
			n = -1 // no Debian package has such a number
		}
		all = append(all, n)
	}
	return all
}

// version gives the version of a package that apt would fetch.
func version(ctx context.Context, name string) (string, error) {
	out, err := run(ctx, "", "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("apt-cache show %s: no version", name)
}

// Closure lists the files of modules and of all they need, in the order to load them, as absolute paths.
func (k Kernel) Closure(ctx context.Context, modules ...string) ([]string, error) {
	args := append([]string{"-C", os.DevNull, "-d", k.Root, "-S", k.Release, "-a", "--show-depends"}, modules...)
	out, err := run(ctx, "", "modprobe", args...)
	if err != nil {
		return nil, err
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "insmod" && !slices.Contains(files, words[1]) {
			files = append(files, words[1])
		}
	}
	return files, nil
}
