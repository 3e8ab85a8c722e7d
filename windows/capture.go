// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what a text that some tool printed says of drivers.
type Capture struct {
	// Entries are the drivers, in the text's order; rows of one image are one entry with several
	// services.
	Entries []Entry
	// Rows is how many rows the text has.
	Rows int
	// Sure is set when something beside the rows says which tool printed it.
	Sure bool
	// Stray counts the lines that are no rows; Bad are the first of them.
	Stray int
	Bad   []*fact.ParseError
	// Truncated is set when the last row is cut.
	Truncated bool
}

// capturePaths is where the machines that captures come from keep Windows, unless a path in them
// says otherwise.
var capturePaths = Paths{SystemRoot: `C:\Windows`}

// A captureBuilder collects the rows of one text.
type captureBuilder struct {
	source   string
	c        *Capture
	index    map[string]int    // place in Entries by key
	services map[serviceOf]int // place in an entry's Services
}

// A serviceOf is a service of an entry, by its folded name.
type serviceOf struct {
	entry int
	name  string
}

func newCapture(source, text string) *captureBuilder {
	c := &Capture{Entries: []Entry{}, Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	return &captureBuilder{source: source, c: c, index: map[string]int{}, services: map[serviceOf]int{}}
}

// Limits on texts: the rows that are kept, the bytes of a line that can be a row of fixed columns,
// and the bytes of a value that goes on over several lines.
const (
	maxCaptureRows  = 100_000
	maxCaptureLine  = 8 << 10
	maxCaptureValue = 8 << 10
)

// driver adds a row about a service and returns the service to fill. image is the path as the
// text has it; empty when it has none.
func (b *captureBuilder) driver(service, image string) (*Entry, *Service) {
	s := Service{Name: service, Ephemeral: IsEphemeral(service)}
	key, name, path := "service "+fold(service), service, ""
	if image != "" {
		ip := capturePaths.ResolveImagePath(service, image)
		s.ImagePath, s.ImagePathRule, s.ImagePathMarks, s.ImageFile = ip.Raw, ip.Rule, ip.Marks, ip.Path
		if ip.Path != "" {
			key, name, path = capturePaths.Key(ip.Path), baseName(ip.Path), ip.Path
		}
	}
	b.c.Rows++
	e := b.entry(key, name, path)
	sk := serviceOf{b.index[key], fold(service)}
	if i, ok := b.services[sk]; ok { // the same service again: the later word counts
		e.Driver.Services[i] = s
		e.Loaded, e.Pending = false, ""
		return e, &e.Driver.Services[i]
	}
	b.services[sk] = len(e.Driver.Services)
	e.Driver.Services = append(e.Driver.Services, s)
	return e, &e.Driver.Services[len(e.Driver.Services)-1]
}

func (b *captureBuilder) entry(key, name, path string) *Entry {
	i, ok := b.index[key]
	if !ok {
		i = len(b.c.Entries)
		b.index[key] = i
		b.c.Entries = append(b.c.Entries, Entry{Key: key, Name: name, Path: path, Driver: &Driver{}})
	}
	return &b.c.Entries[i]
}

func (b *captureBuilder) full() bool { return b.c.Rows >= maxCaptureRows }

// stray counts a line that is no row, unless it is known to be harmless: blank, a prompt, a
// ruler.
func (b *captureBuilder) stray(n int, line string) {
	text := strings.TrimSpace(line)
	if text == "" || strings.Trim(text, "-=+| ") == "" {
		return
	}
	if _, ok := capture.Prompt(text); ok || strings.HasPrefix(text, "PS ") && strings.Contains(text, ">") {
		return
	}
	b.c.Stray++
	if len(b.c.Bad) < limit.Problems {
		b.c.Bad = append(b.c.Bad, &fact.ParseError{Source: b.source, Line: n, Reason: strconv.Quote(cutText(text, 60)) + " is no row"})
	}
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// done drops a capture without rows.
func (b *captureBuilder) done() *Capture { return b.c }

// setState notes a state by its word in any known language; the raw word is kept beside ours.
func (e *Entry) setState(s *Service, word string) {
	word = strings.TrimSpace(word)
	if word == "" {
		return
	}
	ours, known := stateWords.Get()[fold(word)]
	s.State = ours
	if !known || !strings.EqualFold(ours, strings.ReplaceAll(word, " ", "_")) {
		s.StateWord = word
	}
	switch ours {
	case stateRunning, "paused", "pause_pending", "continue_pending":
		e.Loaded = true
	case "start_pending", "stop_pending":
		e.Loaded, e.Pending = true, ours
	}
}

func (s *Service) setStart(word string) {
	word = strings.TrimSpace(word)
	if word == "" {
		return
	}
	s.Start = startWords.Get()[fold(word)]
	if s.Start == "" || !strings.EqualFold(s.Start, word) {
		s.StartWord = word
	}
}

func (s *Service) setType(word string) { s.Type = driverTypeWords.Get()[fold(strings.TrimSpace(word))] }

// stateWords are the words for states that the tools print, in the languages that are known.
var stateWords = lazy.Value[map[string]string]{New: func() map[string]string {
	return map[string]string{
		"running": "running", "stopped": "stopped", "start pending": "start_pending", "stop pending": "stop_pending",
		"continue pending": "continue_pending", "pause pending": "pause_pending", "paused": "paused",
		"wird ausgeführt": "running", "ausgeführt": "running", "gestartet": "running", "beendet": "stopped", "angehalten": "paused",
		"en cours d’exécution": "running", "en cours d'exécution": "running", "en cours": "running", "arrêté": "stopped",
		"en ejecución": "running", "detenido": "stopped", "en pausa": "paused",
		"in esecuzione": "running", "arrestato": "stopped", "interrotto": "stopped",
		"em execução": "running", "executando": "running", "parado": "stopped",
		"работает": "running", "выполняется": "running", "остановлена": "stopped", "остановлено": "stopped",
		"正在运行": "running", "已停止": "stopped", "執行中": "running", "已停止執行": "stopped",
		"実行中": "running", "停止": "stopped", "실행 중": "running", "중지됨": "stopped",
	}
}}

// startWords are the words for start types.
var startWords = lazy.Value[map[string]string]{New: func() map[string]string {
	return map[string]string{
		"boot": "boot", "system": "system", "auto": "auto", "automatic": "auto", "manual": "demand", "demand": "demand", "disabled": "disabled",
		"boot start": "boot", "system start": "system", "auto start": "auto", "demand start": "demand",
		"boot_start": "boot", "system_start": "system", "auto_start": "auto", "demand_start": "demand",
		"start": "boot", "automatisch": "auto", "manuell": "demand", "deaktiviert": "disabled",
		"manuel": "demand", "désactivé": "disabled", "système": "system", "automatique": "auto",
		"deshabilitado": "disabled", "automático": "auto", "sistema": "system", "arranque": "boot",
		"disabilitato": "disabled", "manuale": "demand", "automatico": "auto", "avvio": "boot",
		"desativado": "disabled", "inicialização": "boot",
		"вручную": "demand", "отключена": "disabled", "авто": "auto",
		"手动": "demand", "禁用": "disabled", "已禁用": "disabled", "自动": "auto", "手動": "demand", "無効": "disabled",
	}
}}

// driverTypeWords are the words for driver types.
var driverTypeWords = lazy.Value[map[string]string]{New: func() map[string]string {
	return map[string]string{
		"kernel": "kernel_driver", "kernel driver": "kernel_driver", "kernel_driver": "kernel_driver", "kernel-treiber": "kernel_driver",
		"file system": "file_system_driver", "file system driver": "file_system_driver", "file_system_driver": "file_system_driver",
		"dateisystem": "file_system_driver", "dateisystemtreiber": "file_system_driver", "kerneltreiber": "kernel_driver",
		"noyau": "kernel_driver", "pilote de noyau": "kernel_driver", "système de fichiers": "file_system_driver",
		"sistema de archivos": "file_system_driver", "núcleo": "kernel_driver",
		"recognizer driver": "recognizer_driver", "file system recognizer": "recognizer_driver", "adapter": "adapter",
		"ядро": "kernel_driver", "файловая система": "file_system_driver", "драйвер ядра": "kernel_driver",
		"内核": "kernel_driver", "内核驱动程序": "kernel_driver", "文件系统": "file_system_driver", "文件系统驱动程序": "file_system_driver",
		"カーネル": "kernel_driver", "ファイル システム": "file_system_driver",
	}
}}

// column keeps a value that has no field of its own.
func (d *Driver) column(name, value string) {
	if value = strings.TrimSpace(value); value != "" && len(d.Columns) < 64 {
		d.Columns = append(d.Columns, Column{Name: name, Value: value})
	}
}

// csvRows reads a text as rows of comma-separated values; a row that is none is nil.
func csvRows(text string) [][]string {
	var rows [][]string
	buffer := bufio.NewReader(nil) // csv.NewReader takes it as its own instead of making one a line
	for line := range strings.Lines(text) {
		if len(rows) >= maxCaptureRows {
			break
		}
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && !strings.ContainsAny(line, ",\"") {
			rows = append(rows, []string{strings.TrimLeft(line, " \t")})
			continue
		}
		buffer.Reset(strings.NewReader(line))
		r := csv.NewReader(buffer)
		r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes = -1, true, false
		row, err := r.Read()
		if err != nil && !errors.Is(err, io.EOF) {
			row = nil
		}
		rows = append(rows, row)
	}
	return rows
}

// A record is a block of "key: value" lines.
type record struct {
	line  int // of the first pair
	pairs []pair
}

type pair struct{ key, value string }

func (r record) get(key string) string {
	for _, p := range r.pairs {
		if strings.EqualFold(p.key, key) {
			return p.value
		}
	}
	return ""
}

func (r record) has(key string) bool {
	return slices.ContainsFunc(r.pairs, func(p pair) bool { return strings.EqualFold(p.key, key) })
}

// records splits a text at its blank lines into blocks of pairs. A line that starts with blanks and
// has no separator continues the value above it, up to maxCaptureValue.
func records(text, separators string, other func(n int, line string)) []record {
	var list []record
	var cur record
	flush := func() {
		if len(cur.pairs) > 0 {
			list = append(list, cur)
		}
		cur = record{}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			flush()
			continue
		}
		key, value, ok := cutAny(line, separators)
		switch {
		case ok && strings.TrimSpace(key) != "":
			if len(cur.pairs) == 0 {
				cur.line = n
			}
			cur.pairs = append(cur.pairs, pair{strings.TrimSpace(key), strings.TrimSpace(value)})
		case len(cur.pairs) > 0 && (line[0] == ' ' || line[0] == '\t' || cur.pairs[len(cur.pairs)-1].value == ""):
			p := &cur.pairs[len(cur.pairs)-1]
			if len(p.value)+len(line) <= maxCaptureValue {
				p.value = strings.TrimSpace(p.value + " " + strings.TrimSpace(line))
			}
		default:
			other(n, line)
		}
		if len(list) >= maxCaptureRows {
			break
		}
	}
	flush()
	return list
}

// cutAny cuts at the first of the separators' characters.
func cutAny(s, separators string) (before, after string, ok bool) {
	i := strings.IndexAny(s, separators)
	if i < 0 {
		return s, "", false
	}
	rest := s[i:]
	for j := range rest {
		if j > 0 {
			return s[:i], rest[j:], true
		}
	}
	return s[:i], "", true
}
