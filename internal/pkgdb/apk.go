// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// apkFiles are where apk keeps its database; apk 3 has it below /usr.
var apkFiles = []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"}

// apk reads apk's database, one record for each package, with a field a line: P: is its name, V: its version, A: its
// architecture, m: its maintainer, F: a directory, R: a file in it, and Z: the digest of that file. An empty line ends
// it: apk does not take a package without one (apk-tools, apk_db_fdb_read).
func (d *reader) apk() {
	for _, name := range apkFiles {
		content, err := d.readLines(name)
		if err == nil && len(content) > 0 && !bytes.HasSuffix(content, []byte("\n\n")) {
			err = &fact.ParseError{Source: name, Reason: "no empty line ends its last package: it was cut"}
		}
		if err != nil {
			d.lose(err)
		}
		if err != nil && content == nil {
			continue
		}
		d.Found = true
		if err := d.readAPK(content); err != nil {
			d.lose(fact.ErrorAt("", name, err))
		}
	}
}

func (d *reader) readAPK(content []byte) error {
	item := d.report.Budget.Item(int64(len(content)))
	defer item.Done()
	p := &fact.Package{Manager: string(APK)}
	dir, file := "", ""
	sum := Sum{}
	flush := func() error {
		if file == "" {
			return nil
		}
		path := dir + "/" + file
		file = ""
		return d.own(item, path, Owner{Package: p, Sum: sum})
	}
	for line := range bytes.Lines(content) {
		if err := item.Work(int64(len(line))); err != nil {
			return err
		}
		key, value, _ := strings.Cut(string(bytes.TrimRight(line, "\r\n")), ":")
		switch key {
		case "", "F", "R":
			if err := flush(); err != nil {
				return err
			}
		}
		switch key {
		case "":
			p, dir = &fact.Package{Manager: string(APK)}, ""
		case "P":
			p.Name = text(value)
		case "V":
			p.Version = text(value)
		case "A":
			p.Arch = text(value)
		case "m":
			p.Vendor = text(value)
		case "F":
			dir = value
		case "R":
			file, sum = value, Sum{}
		case "Z":
			sum = apkSum(value)
		}
	}
	return flush()
}

// apkSum reads a digest: Q1 and SHA-1, or Q2 and SHA-256, in base64.
func apkSum(value string) Sum {
	algorithm := map[string]string{"Q1": "sha1", "Q2": "sha256"}[value[:min(2, len(value))]]
	if algorithm == "" {
		return Sum{}
	}
	b, err := base64.StdEncoding.DecodeString(value[2:])
	if err != nil {
		return Sum{}
	}
	return sumOf(algorithm, hex.EncodeToString(b))
}
