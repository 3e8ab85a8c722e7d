// SPDX-License-Identifier: Apache-2.0

package kotest

// Hints writes a linker.hints file as kldxref(8) does.
type Hints struct {
	Order Order
	out   []byte
	rec   []byte
}

func (h *Hints) number(v int32) *Hints {
	for len(h.rec)%4 != 0 {
		h.rec = append(h.rec, 0)
	}
	h.rec = h.Order.AppendUint32(h.rec, uint32(v))
	return h
}

func (h *Hints) text(s string) *Hints {
	h.rec = append(append(h.rec, byte(len(s))), s...)
	return h
}

func (h *Hints) end() {
	for len(h.rec)%4 != 0 {
		h.rec = append(h.rec, 0)
	}
	h.out = append(h.Order.AppendUint32(h.out, uint32(len(h.rec))), h.rec...)
	h.rec = nil
}

// Module adds a MODULE record.
func (h *Hints) Module(record, file string) { h.number(2).text(record).text(file).end() }

// Version adds a VERSION record.
func (h *Hints) Version(name string, version int32, file string) {
	h.number(3).text(name).number(version).text(file).end()
}

// Bytes returns the file.
func (h *Hints) Bytes() []byte { return append(h.Order.AppendUint32(nil, 1), h.out...) }
