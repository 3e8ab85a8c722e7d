// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows"
)

// maxINF is the largest INF file that is read, in bytes.
const maxINF = 8 << 20

// readINFs reads the published INF files (oemNN.inf) of a folder and adds what they say to the
// packages of the store; a package that the store does not tell of is added.
func (b *windowsBackend) readINFs(inv *windows.Inventory, dir string, files []fs.DirEntry, r *report) {
	byINF := make(map[string]int)
	for i, p := range inv.Packages {
		byINF[strings.ToLower(p.INF)] = i
	}
	for _, f := range files {
		if f.IsDir() || !windows.IsOEMInf(f.Name()) {
			continue
		}
		inf, err := b.readINF(inv.Paths, dir+`\`+f.Name())
		if err != nil {
			r.problem(windows.SourceStore, f.Name(), "packages", err)
			continue
		}
		i, ok := byINF[strings.ToLower(f.Name())]
		if !ok {
			i = len(inv.Packages)
			inv.Packages = append(inv.Packages, windows.Package{
				Name: f.Name(), INF: f.Name(), Class: inf.Class, ClassGUID: inf.ClassGUID, Provider: inf.Provider, Date: inf.Date, Version: inf.Version,
			})
		}
		for _, s := range inf.Services {
			inv.Packages[i].Services = append(inv.Packages[i].Services, s.Name)
		}
	}
}

func (b *windowsBackend) readINF(p windows.Paths, dos string) (*windows.INF, error) {
	name, err := p.File(dos)
	if err != nil {
		return nil, err
	}
	raw, err := limit.ReadFile(b.guard, name, maxINF)
	if err != nil {
		return nil, err
	}
	return windows.ParseINF(raw)
}
