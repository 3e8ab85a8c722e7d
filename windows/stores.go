// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/registry"
)

// SourceStores is the source of a machine's certificate stores.
const SourceStores = authenticode.SourceStores

// storePlaces are where the registry has the machine's stores: its own, a policy's, a domain's. A machine's root store
// is all of them together, and the roots of Microsoft's program (AuthRoot).
var storePlaces = [...]string{
	`SOFTWARE\Microsoft\SystemCertificates`,
	`SOFTWARE\Policies\Microsoft\SystemCertificates`,
	`SOFTWARE\Microsoft\EnterpriseCertificates`,
}

// storeNames are the stores that are read in each place.
var storeNames = [...]string{
	authenticode.StoreRoot, "AuthRoot", authenticode.StoreCA, authenticode.StoreDisallowed,
	authenticode.StoreTrustedPublisher,
}

// certificateStores returns the machine's certificate stores, which are read once, and reports how that went. They are
// nil if the machine has none. Stores that were not read, or not whole, say so: what the machine does not allow is then
// unknown, and no signature valid.
func (k *Kernel) certificateStores(ctx context.Context, r *fact.Report) *authenticode.Stores {
	k.mu.Lock()
	kept := k.stores
	k.mu.Unlock()
	if kept == nil {
		kept = k.readStores(ctx)
		if ctx.Err() == nil {
			k.mu.Lock()
			k.stores = kept
			k.mu.Unlock()
		}
	}
	r.Append(&kept.report)
	return kept.stores
}

// keptStores are the machine's stores with how reading them went.
type keptStores struct {
	stores *authenticode.Stores
	report fact.Report
}

func (k *Kernel) readStores(ctx context.Context) *keptStores {
	kept := &keptStores{report: fact.Report{Budget: fact.NewBudget(0)}} // its own: stores are kept beyond the call
	var entries []authenticode.StoreEntry
	read := 0
	var refused, disallowed error // the second of the store Disallowed
	for _, place := range storePlaces {
		for _, store := range storeNames {
			keys, err := k.subkeys(ctx, place+`\`+store+`\Certificates`, kept.report.Budget)
			switch {
			case err == nil:
				read++
			case errors.Is(err, fs.ErrNotExist) && (!hiveIsMissing(err) || k.bareFolder()):
				continue // a store that nobody put anything into
			case errors.Is(err, errors.ErrUnsupported):
				kept.report.Source(SourceStores, fact.OutcomeUnsupported, fact.Count{}, err)
				if !fact.Lacks(err) { // a tape that is older than the question
					kept.stores = authenticode.NewStores(nil, err, &kept.report)
				}
				return kept
			default: // what was read before the damage counts
				refused = err
				storeProblem(&kept.report, store, err)
				if len(keys) > 0 {
					read++
				}
				if store == authenticode.StoreDisallowed {
					disallowed = err
				}
			}
			entries = appendStore(entries, store, keys)
		}
	}
	lists, listErr := k.disallowedLists(ctx, &kept.report)
	if listErr != nil {
		disallowed, refused = cmp.Or(disallowed, listErr), cmp.Or(refused, listErr)
	}
	if read > 0 || disallowed != nil || len(lists) > 0 {
		kept.stores = authenticode.NewStores(entries, disallowed, &kept.report)
	}
	for _, l := range lists {
		read++
		if l.stored {
			kept.stores.DisallowEntry(l.data, l.subject, &kept.report)
		} else {
			kept.stores.Disallow(l.data, l.subject, &kept.report)
		}
	}
	switch {
	case read > 0:
		kept.report.Done(SourceStores, fact.CountOf(int64(len(entries))))
	case refused != nil:
		kept.report.Source(SourceStores, "", fact.Count{}, refused)
	default:
		kept.report.Source(SourceStores, fact.OutcomeAbsent, fact.Count{}, fs.ErrNotExist)
	}
	return kept
}

// storeProblem reports what could not be read of a store. A hive with all of them is reported once.
func storeProblem(r *fact.Report, subject string, err error) {
	p := fact.ProblemOf(SourceStores, subject, "signature", err)
	if errors.Is(err, errDirtyHive) || hiveIsMissing(err) {
		if p.Subject = ""; slices.Contains(r.Problems, p) {
			return
		}
	}
	r.Add(p)
}

// disallowedValue is where Windows Update keeps the list of certificates that nothing may be signed with, which code
// integrity asks, too.
const (
	autoUpdateOf    = `SOFTWARE\Microsoft\SystemCertificates\AuthRoot`
	disallowedValue = `AuthRoot\AutoUpdate\DisallowedCertEncodedCtl`
)

// A barringList is a list of certificates that nothing may be signed with.
type barringList struct {
	subject string // where it is
	data    []byte
	stored  bool // an entry of the store Disallowed
}

// maxBarringLists is how many lists in the store Disallowed are read.
const maxBarringLists = 64

// disallowedLists returns the list of Windows Update, and those in the store Disallowed. The error is why a list may be
// missing; each is reported.
func (k *Kernel) disallowedLists(ctx context.Context, r *fact.Report) (lists []barringList, lost error) {
	note := func(subject string, err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			storeProblem(r, subject, err)
			lost = cmp.Or(lost, err)
		}
	}
	keys, err := k.subkeys(ctx, autoUpdateOf, r.Budget)
	note(disallowedValue, err)
	for i := range keys {
		if !strings.EqualFold(keys[i].Name(), "AutoUpdate") {
			continue
		}
		if v, ok := keys[i].Value("DisallowedCertEncodedCtl"); ok && len(v.Data) > 0 {
			lists = append(lists, barringList{disallowedValue, v.Data, false})
		}
	}
	for _, place := range storePlaces {
		keys, err := k.subkeys(ctx, place+`\`+authenticode.StoreDisallowed+`\CTLs`, r.Budget)
		note(authenticode.StoreDisallowed+`\CTLs`, err)
		for i := range keys {
			subject := authenticode.StoreDisallowed + `\CTLs\` + keys[i].Name()
			if len(lists) == maxBarringLists {
				note(subject, fmt.Errorf("%w: more than %d lists", fact.ErrTooLarge, maxBarringLists))
				break
			}
			v, _ := keys[i].Value("Blob")
			lists = append(lists, barringList{subject, v.Data, true})
		}
	}
	return lists, lost
}

// appendStore adds the certificates of one store.
func appendStore(list []authenticode.StoreEntry, store string, keys []registry.Key) []authenticode.StoreEntry {
	for i := range keys {
		e := authenticode.StoreEntry{Store: store, Name: keys[i].Name()}
		if v, ok := keys[i].Value("Blob"); ok {
			e.Blob = v.Data
		}
		list = append(list, e)
	}
	return list
}

// unasked reports whether a machine does not answer a question at all: a tape that is older than the question, or a
// machine that has no registry.
func unasked(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fact.ErrUnrecorded)
}

// subkeys returns the direct subkeys of a key of HKEY_LOCAL_MACHINE, with their values. The error matches
// fs.ErrNotExist if there is no such key.
func (k *Kernel) subkeys(ctx context.Context, path string, b *fact.Budget) ([]registry.Key, error) {
	if k.options.Image {
		return k.hiveSubkeys(path, b)
	}
	raw, err := k.machine.Call(ctx, OpSubkeys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotThere
	}
	if err != nil {
		return nil, err
	}
	damaged := fact.Report{Budget: b} // what it holds makes a key Partial
	keys, err := registry.ParseText(OpSubkeys, raw, &damaged)
	if err != nil {
		return nil, err
	}
	if damaged.Count(OpSubkeys) > 0 {
		err = damaged.Problems[0]
	}
	return keys, err
}

// hiveSubkeys is subkeys of an image: the hive that a path begins with is a file. If its log files do not complete it,
// the error matches errDirtyHive, beside the keys that were found.
func (k *Kernel) hiveSubkeys(path string, b *fact.Budget) ([]registry.Key, error) {
	hive, rest, err := k.hiveOf(path)
	if err != nil {
		return nil, err
	}
	hive, item, err := hive.paidBy(b)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	root, err := hive.Key(rest)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, hive.absent()
	}
	keys := []registry.Key{}
	var damage error
	err = root.Each(func(sub *registry.HiveKey) bool {
		key, err := sub.Read(path + `\` + sub.Name)
		damage = cmp.Or(damage, err)
		if len(keys) == registry.MaxKeys {
			damage = cmp.Or(damage, fmt.Errorf("%s: %w: more than %d keys", path, fact.ErrTooLarge, registry.MaxKeys))
			return false
		}
		keys = append(keys, key)
		return true
	})
	return keys, cmp.Or(err, damage, hive.unwritten())
}

// hiveOf returns the hive of an image that has a path of HKEY_LOCAL_MACHINE, and the path below its root.
func (k *Kernel) hiveOf(path string) (systemHive, string, error) {
	root, rest, _ := strings.Cut(path, `\`)
	switch strings.ToUpper(root) {
	case "SYSTEM":
		hive, set, err := k.controlSet()
		if below, ok := strings.CutPrefix(rest, `CurrentControlSet\`); ok {
			return hive, set + `\` + below, err
		}
		hive, err = k.systemHive()
		return hive, rest, err
	case "DRIVERS":
		hive, err := k.keptHive(driversHiveFile)
		return hive, rest, err
	case "SOFTWARE":
		hive, err := k.keptHive(softwareHiveFile)
		return hive, rest, err
	}
	return systemHive{}, "", errNotThere
}

// maxKeptHives is how many hives of an image are kept: SYSTEM, DRIVERS and SOFTWARE.
const maxKeptHives = 3

// A keptHive is a hive of an image, or why it could not be read.
type keptHive struct {
	hive systemHive
	err  error
}

// keptHive returns a hive of an image, which is read once.
func (k *Kernel) keptHive(name string) (systemHive, error) {
	k.mu.Lock()
	kept, ok := k.hives[name]
	k.mu.Unlock()
	if ok {
		return kept.hive, kept.err
	}
	kept.hive, kept.err = k.readHive(name)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hives == nil {
		k.hives = make(map[string]keptHive, maxKeptHives)
	}
	k.hives[name] = kept
	return kept.hive, kept.err
}
