// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// addExamples gives each command its examples, which its help and its manual page show, unless it has some. A test runs
// every one of them. What follows a # says what it does.
func addExamples(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Example == "" {
			c.Example = examplesOf(c.Name())
		}
	}
}

func examplesOf(command string) string {
	switch command {
	case "list":
		return `  lkm list                                          # what is loaded
  lkm list --third-party --format csv               # code that is not the operating system's, for a spreadsheet
  lkm list --tape demo:debian-6.12-cloud-root       # a recorded machine, on any system
  lkm list --installed --root /mnt --kernel 6.1.0   # every module file of an image's kernel`
	case "info":
		return `  lkm info nvme                                     # everything known of one module
  lkm info -F license nvme                          # one field, as modinfo -F prints it
  lkm info ./nvme.ko                                # a file, of any system`
	case "tree":
		return `  lkm tree snd_hda_intel                            # what it needs
  lkm tree --reverse soundcore                      # what needs it
  lkm tree --dot snd_hda_intel                      # a graph for Graphviz`
	case "resolve":
		return `  lkm resolve pci:v00008086d000015B7sv*sd*bc*sc*i*  # which modules a device asks for
  lkm resolve fs-ext4 net-pf-10                     # which a file system and a protocol ask for`
	case "plan":
		return `  lkm plan nvme                                     # what modprobe nvme would do
  lkm plan nvme --format json                       # the same for a program`
	case "check":
		return `  lkm check algif_aead --root /mnt                  # what an image would let in
  lkm check usb-storage --kernel all                # for every kernel on disk
  lkm check --explain nvme                          # what decided it, in one line`
	case "config":
		return `  lkm config                                        # the lines that count, each with its file
  lkm config --lint --root /mnt                     # the lines that do nothing, and why`
	case "upgrade":
		return `  lkm upgrade 6.12.0                                # before you start that kernel
  lkm upgrade 6.12.0 --kernel 6.1.0 --root /mnt     # two kernels of an image`
	case "policy":
		return `  lkm policy                                        # whether new code can enter this kernel
  lkm policy --verbose --root /mnt                  # of an image's next boot, with every setting`
	case "discrepancies":
		return `  lkm discrepancies                                 # which sources disagree
  lkm discrepancies --detail hashes --root /mnt     # which files are not those of their packages`
	case "diff":
		return `  lkm diff old.json new.json                        # two snapshots of lkm list --format json
  lkm diff demo:synthetic-debian-root demo:synthetic-container   # two tapes`
	case "sources":
		return `  lkm sources                                       # what was read, and how it went
  lkm sources --plan --detail all                   # what would be read, and what that needs`
	case "record":
		return `  lkm record -o my.tape                             # this machine
  lkm record --host web1 --comment "before the update" -o my.tape`
	case "tape":
		return `  lkm tape my.tape                                  # what a recording holds
  lkm tape demo:                                    # the recordings that come with lkm`
	case "import":
		return `  lkm import lsmod.txt                              # a saved lsmod, of whatever machine
  lkm import --format json lsmod.txt                # as a snapshot`
	case "facts":
		return `  lkm facts                                         # facts of this machine
  lkm facts cramfs usb-storage                      # and whether the code of these can get in`
	case "watch":
		return `  lkm watch                                         # a line for each load and unload
  lkm watch --heartbeat 5m --host web-1             # for lkm mirror on another machine`
	case "mirror":
		return `  lkm mirror events.jsonl                           # a line for each host: its snapshot
  lkm mirror -o hosts events.jsonl                  # a file for each host`
	}
	return ""
}
