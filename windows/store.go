// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Limits on the folders of drivers.
const (
	maxFolderDepth = 8       // below the folder of drivers or of a package
	maxFolders     = 100_000 // looked into by one call
)

// storeBelow is the driver store, below the Windows folder.
const storeBelow = `\System32\DriverStore\FileRepository\`

// A storedFile is a *.sys file in a folder of drivers.
type storedFile struct {
	path string // DOS path
	pack string // the folder of its package in the store; empty in System32\drivers
}

// A folderWalk lists folders with all that are in them.
type folderWalk struct {
	kernel  *Kernel
	paths   ntPaths
	report  *fact.Report
	folders int // looked into
}

// files returns the files below a folder whose names end in ext, folded. A folder inside that cannot be read is
// reported; the error is that of the folder itself.
func (w *folderWalk) files(top, ext string) ([]string, error) {
	type folder struct {
		path  string
		depth int
	}
	var found []string
	queue := []folder{{top, 0}}
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		if w.folders++; w.folders > maxFolders || len(found) > maxDriverFiles {
			w.report.Problem(SourceFolders, top, "", fact.ErrTooLarge)
			return found, nil
		}
		entries, err := w.kernel.readFolder(w.paths, dir.path)
		switch {
		case err != nil && dir.depth == 0:
			return nil, err
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			w.report.Problem(SourceFolders, dir.path, "", err)
		}
		for _, e := range entries {
			name := dir.path + `\` + e.Name()
			switch {
			case e.IsDir() && dir.depth < maxFolderDepth:
				queue = append(queue, folder{name, dir.depth + 1})
			case e.IsDir():
				w.report.Problem(SourceFolders, name, "", fact.ErrTooLarge)
			case !e.IsDir() && strings.EqualFold(path.Ext(e.Name()), ext):
				found = append(found, name)
			}
		}
	}
	return found, nil
}

// driverFiles returns the files of System32\drivers and of every package in the store, and reports how listing them
// went. They are kept in the inventory.
func (k *Kernel) driverFiles(inv *inventory, r *fact.Report) []storedFile {
	root := inv.Paths.SystemRoot
	if root == "" {
		r.Source(SourceFolders, fact.OutcomeFailed, fact.Count{}, fact.ErrUnrecorded)
		return nil
	}
	w := folderWalk{kernel: k, paths: inv.Paths, report: r}
	var files []storedFile
	add := func(dir, pack string) {
		list, err := w.files(dir, ".sys")
		if err != nil {
			r.Problem(SourceFolders, dir, "", err)
		}
		for _, f := range list {
			files = append(files, storedFile{f, pack})
		}
	}
	if k.bareFolder() {
		add(root[:len("C:")], "")
		r.Done(SourceFolders, fact.CountOf(int64(len(files))))
		return files
	}
	add(root+`\System32\drivers`, "")
	inv.Store = k.storeFolders(inv.Paths, r)
	for _, dir := range inv.Store {
		add(dir, baseName(dir))
	}
	r.Done(SourceFolders, fact.CountOf(int64(len(files))))
	return files
}

// bareFolder reports whether an image is not a volume of Windows but a folder of drivers: all files below it count.
func (k *Kernel) bareFolder() bool {
	if !k.options.Image {
		return false
	}
	_, err := fs.Stat(k.machine, "C:/Windows")
	return errors.Is(err, fs.ErrNotExist)
}

// storeFolders returns the folders of the driver store's packages. A store that is not there is a Problem of an image
// alone: each Windows since Vista has one, so the image may be a part of a volume.
func (k *Kernel) storeFolders(p ntPaths, r *fact.Report) []string {
	store := strings.TrimSuffix(p.SystemRoot+storeBelow, `\`)
	packages, err := k.readFolder(p, store)
	if k.options.Image && errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceFolders, store, "", errStoreMissing)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fact.ErrUnrecorded) {
		r.Problem(SourceFolders, store, "", err)
	}
	var folders []string
	for _, e := range packages {
		if len(folders)+1 >= maxDriverFiles {
			r.Problem(SourceFolders, store, "", fact.ErrTooLarge)
			break
		}
		if e.IsDir() {
			folders = append(folders, store+`\`+e.Name())
		}
	}
	return folders
}

// storeKey returns a key that distinguishes a file of the store from others of its name: the file name, "#", and the
// folder of its package with those between.
func (p ntPaths) storeKey(dos string) (string, bool) {
	rest, ok := strings.CutPrefix(p.fullKey(dos), fold(p.SystemRoot)+fold(storeBelow))
	if !ok || p.SystemRoot == "" {
		return "", false
	}
	name := baseName(rest)
	return name + "#" + strings.TrimSuffix(rest, `\`+name), true
}

// addFiles adds an entry for each driver file that no service names and no image was loaded from: all files of all
// packages, several of one name included.
func (k *Kernel) addFiles(ctx context.Context, entries []entry, inv *inventory, r *fact.Report) []entry {
	inv.Files = k.driverFiles(inv, r)
	f := newFileList(entries, inv)
	for _, file := range inv.Files {
		f.add(file)
	}
	k.linkLockdown(ctx, f, r)
	f.markStaged()
	k.describeStaged(ctx, f, r)
	return f.entries
}

// A fileList adds driver files to entries.
type fileList struct {
	inv     *inventory
	entries []entry
	known   map[string]int // keys and paths, with the entry's place
}

func newFileList(entries []entry, inv *inventory) *fileList {
	f := &fileList{inv: inv, entries: entries, known: make(map[string]int, 2*len(entries))}
	for i := range entries {
		f.known[entries[i].Key] = i
		f.known[inv.Paths.fullKey(entries[i].ownPath())] = i
	}
	return f
}

// add adds a file that is not known. Of several of one name the first has the name as its key.
func (f *fileList) add(file storedFile) {
	key, full := f.inv.Paths.key(file.path), f.inv.Paths.fullKey(file.path)
	at, ok := f.known[full]
	if !ok {
		if _, taken := f.known[key]; taken {
			key = full
			if own, ok := f.inv.Paths.storeKey(file.path); ok {
				key = own
			}
		}
		at = len(f.entries)
		f.known[key], f.known[full] = at, at
		f.entries = append(f.entries, f.inv.unnamed(key, baseName(file.path), file.path))
	}
	f.entries[at].Store = file.pack
	if file.pack != "" {
		f.linkFolder(&f.entries[at], file.pack)
	}
}

// linkFolder links an entry with the package of a folder of the store.
func (f *fileList) linkFolder(e *entry, folder string) {
	known := f.inv.packageOf(folder)
	linked := func(p Package) bool { return strings.EqualFold(p.Name, folder) }
	if known == nil || len(e.Driver.Packages) >= maxPackages || slices.ContainsFunc(e.Driver.Packages, linked) {
		return
	}
	e.Driver.Packages = append(e.Driver.Packages, *known)
}

// markStaged distinguishes the store's files that wait for a device from those in use: a service names the file, its
// package is that of an installed driver of its name, or the file in System32\drivers came from it.
func (f *fileList) markStaged() {
	used := map[string]bool{}
	for i := range f.entries {
		e := &f.entries[i]
		if e.Store != "" && len(e.Driver.Services) == 0 && e.Driver.Image == nil {
			continue
		}
		for _, p := range e.Driver.Packages {
			used[fold(p.Name)+`\`+fold(baseName(e.Path))] = true
		}
		if folder := f.inv.links[f.inv.Paths.fullKey(e.Path)]; folder != "" {
			used[fold(folder)+`\`+fold(baseName(e.Path))] = true
		}
	}
	for i := range f.entries {
		e := &f.entries[i]
		e.Staged = e.Store != "" && len(e.Driver.Services) == 0 && e.Driver.Image == nil &&
			!used[fold(e.Store)+`\`+fold(baseName(e.Path))]
	}
}

// lockdownKey has a subkey for each file that a driver package installed outside of the store, with its source there.
const lockdownKey = `SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles`

// linkLockdown links files of System32\drivers with the packages that they came from. It costs a large hive, or a call:
// only where files are read, or a verdict is asked for.
func (k *Kernel) linkLockdown(ctx context.Context, f *fileList, r *fact.Report) {
	if !k.options.Asks(fact.DetailFiles) && !f.inv.judged {
		return
	}
	inv := f.inv
	keys, err := k.subkeys(ctx, lockdownKey, r.Budget)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !unasked(err) { // it only adds to what is known
		r.Problem(SourceStore, "", "packages", err)
	}
	if !errors.Is(err, errNotThere) { // the hive that may have the key is no missing key
		inv.linksUnread = err
	}
	if k.options.Image && inv.linksUnread == nil { // devices and the store's database are links, too
		_, _, inv.linksUnread = k.controlSet()
	}
	inv.links = make(map[string]string, len(keys))
	for i := range keys {
		path := inv.Paths.fullKey(inv.expand(strings.ReplaceAll(keys[i].Name(), "/", `\`)))
		source, ok := keys[i].Text("Source")
		if !ok {
			inv.links[path] = "" // some package brought it in
			continue
		}
		own, ok := inv.Paths.storeKey(inv.expand(source))
		if !ok {
			continue
		}
		_, folder, _ := strings.Cut(own, "#")
		folder, _, _ = strings.Cut(folder, `\`)
		inv.links[path] = folder
		if at, ok := f.known[path]; ok {
			f.linkFolder(&f.entries[at], folder)
		}
	}
}

// expand puts the Windows folder for %SystemRoot% and %windir%, and makes a path of the kernel's a user's.
func (inv *inventory) expand(s string) string {
	for _, name := range []string{`%SystemRoot%`, `%windir%`} {
		if hasFoldPrefix(s, name) {
			return inv.Paths.SystemRoot + s[len(name):]
		}
	}
	if dos, err := inv.Paths.dos(s); err == nil {
		return dos
	}
	return s
}
