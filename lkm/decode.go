// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kernelext/kernelext/internal/limit"
)

// maxSnapshot is the largest JSON text of a Snapshot that Decode reads, in bytes.
const maxSnapshot = 256 << 20

// Decode reads a Snapshot in JSON, at most 256 MiB. Fields that this version does not know are
// dropped, words that it does not know are kept. A schema number higher than Schema is refused by
// an error that names both and satisfies errors.ErrUnsupported; text that is no snapshot, or that
// goes on behind it, satisfies ErrMalformed.
func Decode(r io.Reader) (*Snapshot, error) {
	b, err := limit.AppendAll(r, nil, "snapshot", maxSnapshot)
	if err != nil {
		return nil, fmt.Errorf("lkm: decode snapshot: %w", err)
	}
	var head struct {
		Schema  *int             `json:"schema"`
		Modules *json.RawMessage `json:"modules"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, malformedJSON(err)
	}
	switch {
	case head.Schema == nil || head.Modules == nil:
		return nil, malformedJSON(errors.New("no schema number or no modules: not a snapshot"))
	case *head.Schema > Schema:
		return nil, fmt.Errorf("lkm: decode snapshot: schema %d is newer than %d, which this version reads: %w", *head.Schema, Schema, errors.ErrUnsupported)
	case *head.Schema < 0:
		return nil, malformedJSON(fmt.Errorf("schema %d", *head.Schema))
	}
	s := new(Snapshot)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, malformedJSON(err)
	}
	if s.Modules == nil {
		s.Modules = []Module{}
	}
	for i := range s.Modules {
		s.Modules[i].addNeutral()
	}
	return s, nil
}

func malformedJSON(err error) error {
	return fmt.Errorf("lkm: decode snapshot: %w: %w", ErrMalformed, err)
}
