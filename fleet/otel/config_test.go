// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/xconfmap"
)

// load reads a configuration as the Collector does.
func load(values map[string]any) (*Config, error) {
	c := NewFactory().CreateDefaultConfig().(*Config)
	if err := confmap.NewFromStringMap(values).Unmarshal(c); err != nil {
		return nil, err
	}
	return c, xconfmap.Validate(c)
}

func TestConfig(t *testing.T) {
	c, err := load(map[string]any{
		"host": "web-1", "root_path": "/hostfs", "detail": []any{"files", "signatures"}, "interval": "5s",
		"heartbeat": "0s", "refresh": "168h", "entities": false, "max_record_bytes": 65536,
		"storage": "file_storage/far",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "web-1" || c.RootPath != "/hostfs" || len(c.Detail) != 2 || c.Interval != 5*time.Second ||
		c.Heartbeat != 0 || c.Refresh != 168*time.Hour || c.Entities || c.MaxRecordBytes != 65536 ||
		c.Storage.String() != "file_storage/far" {
		t.Errorf("%+v", c)
	}
	if _, err := load(nil); err != nil {
		t.Errorf("the default: %v", err)
	}
}

// Nonsense is refused, and the error names the value.
func TestConfigNonsense(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"host", "a\x1b[2J", `"a\x1b[2J" is not a name`},
		{"host", "\xff", `"\xff" is not a name`},
		{"host", strings.Repeat("a", 256), "at most 255 bytes"},
		{"root_path", "hostfs", `"hostfs" is not an absolute path`},
		{"detail", []any{"everything"}, `detail "everything" is not one of all, files`},
		{"interval", "0s", "0s is not between 100ms and"},
		{"interval", "-1s", "-1s is not between 100ms and"},
		{"interval", "9000h", "is not between 100ms and"},
		{"interval", "often", "invalid duration"},
		{"heartbeat", "1ms", "1ms is neither 0 (never) nor between 1s and"},
		{"heartbeat", "-5m", "-5m0s is neither 0"},
		{"refresh", "10ns", "10ns is neither 0"},
		{"refresh", "99999h", "is neither 0"},
		{"max_record_bytes", 0, "0 is not between 4096 and 1048576"},
		{"max_record_bytes", -1, "-1 is not between"},
		{"max_record_bytes", 1 << 30, "1073741824 is not between"},
		{"entities", "perhaps", "entities"},
		{"storage", "a/b/c d\x00", "storage"},
		{"intervall", "1s", "intervall"},
	} {
		_, err := load(map[string]any{c.name: c.value})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s %q: %v, want %q", c.name, c.value, err, c.want)
		}
	}
	_, err := load(map[string]any{"interval": "1ns", "heartbeat": "1ns", "refresh": "1ns"})
	for _, name := range []string{"interval", "heartbeat", "refresh"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}
