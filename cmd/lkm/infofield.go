// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// writeField prints one field of each module, a value a line, as modinfo -F does. The field is one of modinfo's words,
// or a field by its JSON name. A module without it prints nothing.
func (a *app) writeField(modules []lkm.Module, field string) error {
	known := hasField(reflect.TypeFor[lkm.Module](), field)
	var unread []error
	for i := range modules {
		values, ok := modinfoField(&modules[i], field)
		if !ok && known {
			picked, err := pick(&modules[i], []string{field})
			if err != nil {
				return err
			}
			if picked[0] != nil {
				values = []string{cellText(picked[0])}
			}
		}
		known = known || ok
		if len(values) == 0 && isUnread(&modules[i], field) {
			unread = append(unread, fmt.Errorf("%s: %s is unknown: the module's file was not read", modules[i].Name,
				field))
		}
		for _, v := range values {
			fmt.Fprintln(a.stdout, escape.Text(v))
		}
	}
	if !known && !slices.Contains(modinfoWords, field) && len(modules) > 0 {
		return fmt.Errorf("-F %s: no module here has such a field: it is a word of modinfo, such as license, "+
			"or a JSON name, such as signature.status", escape.Text(field))
	}
	return a.unknown(unread)
}

// isUnread reports whether a word of modinfo has no value because nobody read the file that has it: a module that was
// read has at least one word.
func isUnread(m *lkm.Module, word string) bool {
	return m.Linux != nil && len(m.Linux.Modinfo) == 0 && slices.Contains(modinfoWords, word)
}

// unknown prints why values are missing that stdout has no mark for.
func (a *app) unknown(errs []error) error {
	if len(errs) == 0 || a.flags.strict {
		return a.strictly(errors.Join(errs...))
	}
	for _, err := range errs {
		fmt.Fprintln(a.stderr, "lkm:", escape.Text(err.Error()))
	}
	return nil
}

// modinfoWords are the words of modinfo that a module may lack.
var modinfoWords = []string{"filename", "alias", "author", "depends", "description", "firmware", "import_ns",
	"intree", "license", "name", "parm", "parmtype", "retpoline", "softdep", "srcversion", "staging", "vermagic",
	"version", "weakdep", "sig_id", "signer", "sig_key", "sig_hashalgo"}

// modinfoField returns the values that modinfo prints for a word, and whether the module has any.
func modinfoField(m *lkm.Module, word string) ([]string, bool) {
	if m.Linux == nil {
		return nil, false
	}
	switch word {
	case "filename":
		if m.State == lkm.StateBuiltin {
			return []string{"(builtin)"}, true
		}
		return []string{m.Path}, m.Path != ""
	case "parm":
		return modinfoParameters(m.Linux), true
	}
	if values := modinfoValues(m.Linux, word); values != nil {
		return values, true
	}
	s := m.Linux.Signature
	if s == nil {
		return nil, false
	}
	switch word {
	case "sig_id":
		return []string{map[string]string{"pkcs7": "PKCS#7"}[s.IDType]}, s.IDType == "pkcs7"
	case "signer":
		return []string{s.Signer}, s.Signer != ""
	case "sig_key":
		return []string{s.KeyID}, s.KeyID != ""
	case "sig_hashalgo":
		return []string{s.Hash}, s.Hash != ""
	}
	return nil, false
}

// modinfoParameters returns the parameters as modinfo's modinfo_params_do prints them: the last one first, each with
// its description and type.
func modinfoParameters(l *linux.Module) []string {
	type parameter struct{ name, about, kind string }
	var list []parameter
	for _, e := range l.Modinfo {
		if e.Key != "parm" && e.Key != "parmtype" {
			continue
		}
		name, rest, _ := strings.Cut(e.Value, ":")
		i := slices.IndexFunc(list, func(p parameter) bool { return p.name == name })
		if i < 0 {
			list, i = append(list, parameter{name: name}), len(list)
		}
		if e.Key == "parm" {
			list[i].about = rest
		} else {
			list[i].kind = rest
		}
	}
	lines := make([]string, 0, len(list))
	for _, p := range slices.Backward(list) {
		line := p.name + ":" + p.about
		if p.kind != "" {
			line += " (" + p.kind + ")"
		}
		lines = append(lines, line)
	}
	return lines
}
