// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

// hostedTape writes a made-up tape that keeps the name of its machine, and returns the file's name.
func hostedTape(t *testing.T) string {
	t.Helper()
	tp, err := lkmtest.Open("synthetic-nomodules")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := tp.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "hosted.tape")
	text := strings.Replace(b.String(), "\nos: linux\n", "\nos: linux\nhost: db%204\n", 1)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// hostIn returns the "host" of a JSON object.
func hostIn(t *testing.T, text string) string {
	t.Helper()
	var v struct {
		Host *string `json:"host"`
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if v.Host == nil {
		return "absent"
	}
	return *v.Host
}

// A machine's name is the flag's, else that which the tape keeps; never anything of the machine.
func TestHostOfList(t *testing.T) {
	hosted, image := hostedTape(t), t.TempDir()
	if err := os.MkdirAll(filepath.Join(image, "lib/modules/6.1.0"), 0o700); err != nil {
		t.Fatal(err)
	}
	lsmod := "Module                  Size  Used by\nnvme                   61440  2\n"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--tape", "demo:synthetic-debian-root"}, "absent"},
		{[]string{"list", "--tape", "demo:synthetic-debian-root", "--host", "web 1"}, "web 1"},
		{[]string{"list", "--tape", hosted}, "db 4"},
		{[]string{"list", "--tape", hosted, "--host", "web1"}, "web1"},
		{[]string{"list", "--builtin", "--tape", hosted}, "db 4"},
		{[]string{"list", "--installed", "--root", image, "--os", "linux"}, "absent"},
		{[]string{"list", "--installed", "--root", image, "--os", "linux", "--host", "disk7"}, "disk7"},
		{[]string{"import", "-"}, "absent"},
		{[]string{"import", "-", "--host", "web1"}, "web1"},
	} {
		_, out, errs := lkmRun(t, lsmod, append(tt.args, "--format", "json")...)
		if got := hostIn(t, out); got != tt.want {
			t.Errorf("%q: host %q, want %q; %s", tt.args, got, tt.want, errs)
		}
	}
	_, out, _ := lkmRun(t, "", "diff", "demo:synthetic-nomodules", hosted, "--format", "json")
	if !strings.Contains(out, `"host": "db 4"`) {
		t.Errorf("the newer snapshot of diff has no host: %s", out)
	}
}

// A stopper ends a command that runs for ever, after its first output.
type stopper struct {
	bytes.Buffer
	stop context.CancelFunc
}

func (s *stopper) Write(b []byte) (int, error) {
	defer s.stop()
	return s.Buffer.Write(b)
}

func TestHostOfWatch(t *testing.T) {
	hosted := hostedTape(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--tape", "demo:synthetic-nomodules"}, "absent"},
		{[]string{"--tape", "demo:synthetic-nomodules", "--host", "web1"}, "web1"},
		{[]string{"--tape", hosted}, "db 4"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		out := &stopper{stop: stop}
		run(ctx, append([]string{"watch", "--poll"}, tt.args...), strings.NewReader(""), out, io.Discard)
		stop()
		if got := hostIn(t, out.String()); got != tt.want {
			t.Errorf("%q: host %q of the event, want %q", tt.args, got, tt.want)
		}
		var e lkm.Event
		if err := json.NewDecoder(&out.Buffer).Decode(&e); err != nil || e.Snapshot == nil {
			t.Fatalf("%q: no baseline: %v", tt.args, err)
		}
		if got := e.Snapshot.Host; got != strings.Replace(tt.want, "absent", "", 1) {
			t.Errorf("%q: host %q of the snapshot, want %q", tt.args, got, tt.want)
		}
	}
}

// A tape keeps the name only unredacted.
func TestHostOfRecord(t *testing.T) {
	if _, _, err := lkm.Live(lkm.Options{}); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--host", "web1"}, ""},
		{[]string{"--host", "web1", "--unredacted"}, "web1"},
		{[]string{"--unredacted"}, ""},
	} {
		code, out, errs := lkmRun(t, "", append([]string{"record"}, tt.args...)...)
		if code != 0 {
			t.Fatalf("%q: exit %d: %s", tt.args, code, errs)
		}
		tp, err := tape.Read(strings.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if got := tp.Header().Host; got != tt.want {
			t.Errorf("%q: host %q, want %q", tt.args, got, tt.want)
		}
	}
}
