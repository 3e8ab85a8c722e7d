// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A Detail is a set of facts to read beyond the kernel's own list. Each bit has a price; 0 is the
// cheapest.
type Detail uint32

// The details. Prices are for a host with 250 modules.
const (
	// DetailFiles reads the module files on disk: metadata, origin, and whether the loaded code is the
	// file's. It opens a file a module.
	DetailFiles Detail = 1 << iota
	// DetailHashes reads module files whole and hashes them: as expensive as reading every byte. Discrepancies compares
	// them with what their packages brought.
	DetailHashes
	// DetailSignatures decodes, and with keys verifies, the signatures of files; compressed files are
	// decompressed whole for it.
	DetailSignatures
	// DetailParameters reads the current values of parameters: one small read each, which runs the
	// driver's code and may block.
	DetailParameters
	// DetailAddresses gives load and section addresses, which need privilege: a small read a section.
	DetailAddresses
	// DetailSymbols reads imported and exported symbols from module files: tens of thousands of strings.
	DetailSymbols
	// DetailPolicy reads what the system enforces on loading: some twenty small files.
	DetailPolicy
)

// detailWords are the details by their JSON words, in bit order.
var detailWords = [...]struct {
	bit  Detail
	word string
}{
	{DetailFiles, "files"}, {DetailHashes, "hashes"}, {DetailSignatures, "signatures"}, {DetailParameters,
		"parameters"},
	{DetailAddresses, "addresses"}, {DetailSymbols, "symbols"}, {DetailPolicy, "policy"},
}

// ParseDetail reads words separated by commas, such as "files,signatures"; empty text is 0 and
// "all" is every detail. An unknown word returns an error that lists the known ones.
func ParseDetail(text string) (Detail, error) {
	var d Detail
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		bit, ok := detailBit(word)
		if !ok {
			return 0, fmt.Errorf("detail %q is not one of all, %s", word, strings.Join(allDetail.words(), ", "))
		}
		d |= bit
	}
	return d, nil
}

const allDetail = DetailFiles | DetailHashes | DetailSignatures | DetailParameters | DetailAddresses |
	DetailSymbols | DetailPolicy

func detailBit(word string) (Detail, bool) {
	if word == "all" {
		return allDetail, true
	}
	for _, w := range detailWords {
		if w.word == word {
			return w.bit, true
		}
	}
	return 0, false
}

func (d Detail) words() []string {
	words := make([]string, 0, len(detailWords))
	for _, w := range detailWords {
		if d&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return words
}

// String returns the details' words, separated by commas.
func (d Detail) String() string { return strings.Join(d.words(), ",") }

// MarshalJSON writes the details as a list of words.
func (d Detail) MarshalJSON() ([]byte, error) { return json.Marshal(d.words()) }

// UnmarshalJSON reads a list of words. A word that this version does not know is dropped: it names
// facts that this version has no field for.
func (d *Detail) UnmarshalJSON(b []byte) error {
	var words []string
	if err := json.Unmarshal(b, &words); err != nil {
		return fmt.Errorf("detail: %w", err)
	}
	*d = 0
	for _, word := range words {
		bit, _ := detailBit(word)
		*d |= bit
	}
	return nil
}
