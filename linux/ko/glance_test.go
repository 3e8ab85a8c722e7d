// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

func glance(data []byte, max int64) (File, error) {
	return NewReader().Glance(fstest.MapFS{"m.ko": {Data: data}}, "m.ko", max)
}

func TestGlance(t *testing.T) {
	good := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	for name, data := range map[string][]byte{
		CompressionNone: good, CompressionGzip: gzipped(t, good), CompressionZstd: zstandard(t, good),
	} {
		f, err := glance(data, 0)
		if err != nil || f.Compression != name || f.Size != int64(len(data)) || f.Modinfo != nil {
			t.Errorf("%s: %v %+v", name, err, f)
		}
		for n := range len(data) {
			f, err := glance(data[:n], 0)
			if name == CompressionGzip && n >= 18 {
				continue // its end does not show
			}
			if !errors.Is(err, fact.ErrMalformed) {
				t.Fatalf("%s cut at %d of %d: %v %+v", name, n, len(data), err, f)
			}
		}
	}
	if _, err := glance([]byte("#!/bin/sh\n"), 0); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a script: %v", err)
	}
}

func TestGlanceSeesWhatIsTooLarge(t *testing.T) {
	zeros := make([]byte, 1<<20)
	var stream bytes.Buffer
	w, err := zstd.NewWriter(&stream)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // a stream does not say its size
		w.Write(zeros[:1<<18])
		w.Flush()
	}
	w.Close()
	two := append(zstandard(t, zeros[:1<<19]), zstandard(t, zeros[:1<<19])...)
	for name, data := range map[string][]byte{"plain": zeros, "gzip": gzipped(t, zeros), "zstd": zstandard(t, zeros),
		"two zstd frames": two} {
		if f, err := glance(data, 1<<20-1); !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %v %+v", name, err, f)
		}
	}
	if _, err := glance(stream.Bytes(), 1<<20); err != nil {
		t.Errorf("a zstd stream: %v", err)
	}
	if _, err := glance(bytes.Repeat(zstandard(t, nil), maxZstdSteps+1), 0); err != nil {
		t.Errorf("many frames: %v; only decoding shows that", err)
	}
}

// FuzzGlance holds that what can be read whole is not called damaged.
func FuzzGlance(f *testing.F) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	f.Add(module)
	f.Add(gzipped(f, module))
	f.Add(zstandard(f, module))
	f.Add(append(zstandard(f, module[:100]), zstandard(f, module[100:])...))
	f.Fuzz(func(t *testing.T, data []byte) {
		const max = 1 << 20
		_, err := glance(data, max)
		if err == nil {
			return
		}
		if f, whole := NewReader().Decode(data, "m.ko", Options{MaxFile: max, Signature: true},
			new(fact.Report)); whole == nil &&
			f.Compression != CompressionGzip {
			t.Fatalf("%v, but it can be read", err)
		}
	})
}
