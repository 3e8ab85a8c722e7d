// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/collector/component"

	"github.com/kernelext/kernelext/lkm"
)

// Config is the configuration of the receiver.
type Config struct {
	// Host is the machine's name, in host.name and in each event; empty means the name that the system has.
	Host string `mapstructure:"host"`
	// RootPath is where the machine's root is mounted, such as /hostfs in a container; empty is /.
	RootPath string `mapstructure:"root_path"`
	// Detail are the words of lkm.ParseDetail: what to read beyond the kernel's own list.
	Detail []string `mapstructure:"detail"`
	// Interval is how often to ask whether something changed.
	Interval time.Duration `mapstructure:"interval"`
	// Heartbeat is after how much silence a record says that the watch goes on; 0 means never.
	Heartbeat time.Duration `mapstructure:"heartbeat"`
	// Refresh is how often everything is sent again, up to a tenth earlier, so that the hosts of a fleet do not send at
	// once; 0 means never.
	Refresh time.Duration `mapstructure:"refresh"`
	// Entities says whether entity events are sent beside the events of the watch.
	Entities bool `mapstructure:"entities"`
	// MaxRecordBytes is the longest body of a record. A longer event is several records, whose bodies are texts that
	// are its JSON when put together.
	MaxRecordBytes int `mapstructure:"max_record_bytes"`
	// Storage is the storage extension that keeps what the far side has while the Collector is stopped; nil means no
	// storage.
	Storage *component.ID `mapstructure:"storage"`
}

// The bounds of a configuration.
const (
	minInterval    = 100 * time.Millisecond
	minPause       = time.Second // of Heartbeat and Refresh
	maxPause       = 366 * 24 * time.Hour
	maxHost        = 255 // bytes of a host's name
	minRecordBytes = 4 << 10
	maxRecordBytes = 1 << 20
)

// Validate returns every value that is invalid, with its name.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
	}
	if len(c.Host) > maxHost || !utf8.ValidString(c.Host) || strings.ContainsFunc(c.Host, unicode.IsControl) {
		wrong("host", "%.80q is not a name: at most %d bytes of UTF-8 without control characters", c.Host, maxHost)
	}
	if c.RootPath != "" && !filepath.IsAbs(c.RootPath) {
		wrong("root_path", "%.80q is not an absolute path", c.RootPath)
	}
	if _, err := c.detail(); err != nil {
		wrong("detail", "%w", err)
	}
	if c.Interval < minInterval || c.Interval > maxPause {
		wrong("interval", "%v is not between %v and %v", c.Interval, minInterval, maxPause)
	}
	for _, p := range []struct {
		name  string
		value time.Duration
	}{{"heartbeat", c.Heartbeat}, {"refresh", c.Refresh}} {
		if p.value != 0 && (p.value < minPause || p.value > maxPause) {
			wrong(p.name, "%v is neither 0 (never) nor between %v and %v", p.value, minPause, maxPause)
		}
	}
	if c.MaxRecordBytes < minRecordBytes || c.MaxRecordBytes > maxRecordBytes {
		wrong("max_record_bytes", "%d is not between %d and %d", c.MaxRecordBytes, minRecordBytes, maxRecordBytes)
	}
	return errors.Join(errs...)
}

func (c *Config) detail() (lkm.Detail, error) {
	return lkm.ParseDetail(strings.Join(c.Detail, ","))
}
