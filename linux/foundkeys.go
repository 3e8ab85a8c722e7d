// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

// foundKeys keeps the certificates of the kernels of a machine, by release, until the file of a kernel changes.
type foundKeys struct {
	mu     sync.Mutex
	byName map[string]*releaseKeys
}

// releaseKeys are the certificates of one release, and what reading them reported.
type releaseKeys struct {
	*kernelKeys
	lost  fact.Report
	state string // of the kernel's files, and of what a running machine revokes
}

func (f *foundKeys) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byName = nil
}

// keyFinder returns what finds the certificates of the machine's kernels.
func (k *Kernel) keyFinder() *keyFinder {
	return &keyFinder{sets: k.options.Keys, trust: k.options.Trust, images: &k.images}
}

// fileKeys returns the certificates to verify the modules of a release with, and what could not be read. It reads
// nothing unless signatures are asked for.
func (k *Kernel) fileKeys(ctx context.Context, release string, budget *fact.Budget) (*ko.Keys, *fact.Report) {
	if !k.options.Asks(fact.DetailSignatures) {
		return nil, new(fact.Report)
	}
	k.keys.mu.Lock()
	defer k.keys.mu.Unlock()
	state := kernelState(k.machine, release)
	if k.live() {
		state += revokedState(k.machine)
	}
	if found := k.keys.byName[release]; found != nil && found.state == state {
		return found.keys, &found.lost
	}
	found := &releaseKeys{state: state, lost: fact.Report{Budget: budget}}
	finder := k.keyFinder()
	finder.given(&found.lost, SourceTree, "signature")
	found.kernelKeys = finder.find(keyedKernel{FS: k.machine, Release: release, Running: k.isRunning(ctx, release),
		Live: k.live()}, &found.lost)
	if slices.ContainsFunc(found.lost.Problems, isOverBudget) {
		return found.keys, &found.lost // another call may have more
	}
	found.lost.Budget = nil
	if k.keys.byName == nil {
		k.keys.byName = make(map[string]*releaseKeys)
	}
	k.keys.byName[release] = found
	return found.keys, &found.lost
}

// revokedState is the state of what a running machine revokes and trusts, which changes while it runs.
func revokedState(fsys fs.FS) string {
	sum := sha256.New()
	for _, name := range []string{efiVarsDir + "/" + varDBX + "-" + efiSecurityGUID, mokVarsDir + "/" + varMokListX,
		efiVarsDir + "/" + varMokListX + "-" + shimGUID, keysFile} {
		text, err := limit.AppendFile(fsys, nil, name, limit.Proc) // one that cannot be read is the same each time
		fmt.Fprintf(sum, "%v\n", err)
		for line := range bytes.Lines(text) {
			if name != keysFile || bytes.Contains(line, []byte("blackl")) ||
				bytes.Contains(line, []byte("keyring   .secondary_trusted_keys:")) {
				sum.Write(line)
			}
		}
	}
	return string(sum.Sum(nil))
}

// kernelState is the state of the files of a release's kernel.
func kernelState(fsys fs.FS, release string) string {
	var state strings.Builder
	for _, name := range boot.KernelFiles(release) {
		key, _ := kernelImageKey(fsys, name) // a file that is not there has none
		state.WriteString(key + "\n")
	}
	return state.String()
}
