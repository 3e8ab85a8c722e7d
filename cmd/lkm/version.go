// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what it was built from",
		Long: `Print the version of lkm, the commit that it was built from with the date of that commit, the number of
the JSON's schema, and the version of Go.`,
		Example: `  lkm version
  lkm -V`,
		Args: cobra.NoArgs,
		Run:  func(*cobra.Command, []string) { a.printVersion() },
	}
}

func (a *app) printVersion() {
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintf(a.stdout, "lkm %s%s, schema %d, %s %s/%s\n", lkm.Version, revision(info), lkm.Schema,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// revision returns what the version control said of the source when the binary was built: "(commit, date)". Of a
// binary that go install made of a released module it is the module's version.
func revision(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	var commit, date, changed string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				date = ", " + t.UTC().Format(time.DateOnly)
			}
		case "vcs.modified":
			if s.Value == "true" {
				changed = ", with changes"
			}
		}
	}
	switch {
	case commit != "":
		return " (" + commit + date + changed + ")"
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return " (" + info.Main.Version + ")"
	}
	return ""
}
