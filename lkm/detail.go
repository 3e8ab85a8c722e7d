// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ParseDetail reads words separated by commas, such as "files,signatures"; empty text is 0 and
// "all" is every detail. An unknown word is an error that lists the known ones.
func ParseDetail(text string) (Detail, error) {
	var d Detail
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		bit, ok := detailBit(word)
		if !ok {
			return 0, fmt.Errorf("detail %q is none of all, %s", word, strings.Join(allDetail.words(), ", "))
		}
		d |= bit
	}
	return d, nil
}

const allDetail = DetailFiles | DetailHashes | DetailSignatures | DetailParameters | DetailAddresses | DetailSymbols | DetailPolicy

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
