// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// A Row is one row of a table: column → text. A column that is not known is absent.
type Row map[string]string

func (r Row) put(column, value string) {
	if value != "" {
		r[column] = value
	}
}

func (r Row) count(column string, n lkm.Count) {
	if !n.IsZero() {
		r[column] = n.String()
	}
}

// The tables of osquery that have kernel extensions, and one of ours.
const (
	TableModules    = "kernel_modules"    // loaded modules of Linux
	TableExtensions = "kernel_extensions" // kexts of macOS
	TableDrivers    = "drivers"           // drivers of Windows, a row for each device
	// TableAll has a row for every module of every system, with what the three have and what they leave out.
	TableAll = "kernelext"
)

// Columns returns the columns of a table in the table's order; nil for a table that there is not.
func Columns(table string) []string {
	switch table {
	case TableModules:
		return []string{"name", "size", "used_by", "status", "address"}
	case TableExtensions:
		return []string{"idx", "refs", "size", "name", "version", "linked_against", "path"}
	case TableDrivers:
		return []string{"device_id", "device_name", "image", "description", "service", "service_key", "version", "inf",
			"class", "provider", "manufacturer", "driver_key", "date", "signed"}
	case TableAll:
		return []string{"id", "kind", "name", "state", "version", "path", "size", "address", "refs", "used_by",
			"requires", "status", "taints", "idx", "linked_against", "service", "sha256", "content_id", "origin",
			"signature_status", "signer", "package_manager", "package_name", "package_version",
			"description", "license",
			"host", "release", "taken_at", "record"}
	}
	return nil
}

// Osquery returns the rows of a table. An error means that there is no such table.
func Osquery(s *lkm.Snapshot, table string) ([]Row, error) {
	if Columns(table) == nil {
		return nil, fmt.Errorf("export: %q is not one of %s, %s, %s, %s", table, TableModules, TableExtensions,
			TableDrivers, TableAll)
	}
	rows := []Row{}
	for i := range s.Modules {
		m := &s.Modules[i]
		switch {
		case table == TableModules && m.Linux != nil && m.Linux.State != "":
			rows = append(rows, moduleRow(m))
		case table == TableExtensions && m.Darwin != nil && m.Kind == "macos_kext":
			rows = append(rows, kextRow(m))
		case table == TableDrivers && m.Windows != nil:
			rows = append(rows, driverRows(m)...)
		case table == TableAll:
			rows = append(rows, allRow(s, m))
		}
	}
	return rows, nil
}

// moduleRow is a line of /proc/modules as osquery divides it: without the count and the taints.
func moduleRow(m *lkm.Module) Row {
	r := Row{"name": m.Name}
	if m.UsedBy != nil || m.Linux.Permanent {
		r["used_by"] = usedBy(m)
	}
	r.count("size", m.Size)
	r.put("status", m.Linux.State)
	if m.Address != 0 {
		r["address"] = m.Address.String()
	}
	return r
}

// usedBy are the users as /proc/modules prints them, without the last comma.
func usedBy(m *lkm.Module) string {
	users := slices.Clone(m.UsedBy)
	if m.Linux != nil && m.Linux.Permanent {
		users = append(users, "[permanent]")
	}
	if len(users) == 0 {
		return "-"
	}
	return strings.Join(users, ",")
}

// kextRow is a row as osquery makes it: linked_against has kextstat's form, "<1 3 7>", and is empty for none.
func kextRow(m *lkm.Module) Row {
	r := Row{"name": m.Name}
	r.count("idx", m.Darwin.LoadTag)
	r.count("refs", m.Refs)
	r.count("size", m.Darwin.WiredSize)
	r.put("version", m.Version)
	r.put("path", m.Path)
	if text, ok := linked(m); ok {
		r["linked_against"] = text
	}
	return r
}

func linked(m *lkm.Module) (text string, known bool) {
	if m.Darwin.LinkedAgainst == nil {
		return "", false
	}
	var tags []string
	for _, l := range m.Darwin.LinkedAgainst {
		if l.Tag.IsZero() {
			return "", false
		}
		tags = append(tags, l.Tag.String())
	}
	if tags == nil {
		return "", true
	}
	return "<" + strings.Join(tags, " ") + ">", true
}

// driverRows are a row for each device of a driver, and one row for a driver without a device, which osquery leaves
// out.
func driverRows(m *lkm.Module) []Row {
	base := Row{}
	base.put("image", m.Path)
	base.put("version", m.Version)
	base.put("description", m.Description)
	switch isSigned(m) {
	case lkm.Yes:
		base["signed"] = "1"
	case lkm.No:
		base["signed"] = "0"
	}
	w := m.Windows
	if len(w.Devices) == 0 {
		r := base
		if len(w.Services) > 0 {
			r.service(w.Services[0].Name)
		}
		return []Row{r}
	}
	var rows []Row
	for i := range w.Devices {
		d := &w.Devices[i]
		r := Row{}
		for k, v := range base {
			r[k] = v
		}
		r.put("device_id", d.Instance)
		r.put("device_name", firstOf(d.FriendlyName, d.Description))
		r.put("description", d.Description)
		r.service(d.Service)
		r.put("version", d.DriverVersion)
		r.put("inf", d.INF)
		r.put("class", d.Class)
		r.put("provider", d.Provider)
		r.put("manufacturer", d.Manufacturer)
		r.put("driver_key", d.DriverKey)
		if date, err := time.Parse(time.DateOnly, d.DriverDate); err == nil {
			r["date"] = strconv.FormatInt(date.Unix(), 10)
		}
		rows = append(rows, r)
	}
	return rows
}

func (r Row) service(name string) {
	if name != "" {
		r["service"] = name
		r["service_key"] = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\` + name
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func allRow(s *lkm.Snapshot, m *lkm.Module) Row {
	r := Row{"id": m.ID, "kind": string(m.Kind), "name": m.Name}
	for column, value := range map[string]string{
		"state": string(m.State), "version": m.Version, "path": m.Path, "requires": strings.Join(m.Requires, ","),
		"sha256": m.Hashes.SHA256, "content_id": m.ContentID, "origin": string(m.Origin.Class),
		"signature_status": string(m.Signature.Status), "signer": m.Signature.Signer, "description": m.Description,
		"license": m.License, "host": s.Host, "release": s.Release,
	} {
		r.put(column, value)
	}
	r.count("size", m.Size)
	r.count("refs", m.Refs)
	if m.Address != 0 {
		r["address"] = m.Address.String()
	}
	r.put("used_by", strings.Join(m.UsedBy, ","))
	if !s.TakenAt.IsZero() {
		r["taken_at"] = s.TakenAt.UTC().Format(time.RFC3339)
	}
	if p := m.Package; p != nil {
		r.put("package_manager", p.Manager)
		r.put("package_name", p.Name)
		r.put("package_version", p.Version)
	}
	switch {
	case m.Linux != nil:
		r.put("status", m.Linux.State)
		if m.Linux.Taints != nil {
			r["taints"] = strings.Join(m.Linux.Taints, "")
		}
	case m.Darwin != nil:
		r.count("idx", m.Darwin.LoadTag)
		if text, ok := linked(m); ok {
			r["linked_against"] = text
		}
	case m.Windows != nil && len(m.Windows.Services) > 0:
		r.put("service", m.Windows.Services[0].Name)
	}
	if text, err := json.Marshal(m); err == nil {
		r["record"] = string(text)
	}
	return r
}
