// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bufio"
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// A Metric is one family of gauges.
type Metric struct {
	// Name is the family's name.
	Name string
	// Help says what it counts.
	Help string
	// Labels are the names of the labels, in the order of a sample's values.
	Labels []string
	// Samples are the values; never empty.
	Samples []Sample
}

// A Sample is one value of a Metric.
type Sample struct {
	// Labels are the values of the labels.
	Labels []string
	// Value is the number.
	Value float64
}

// unknown is the value of a label whose word is not known.
const unknown = "unknown"

// Metrics returns the families for the Snapshots, as gauges: how many modules there are of each state, origin,
// signature and taint, what the policy concludes, how each source was read, whether the list is complete, and when it
// was taken. If there are several Snapshots, or one with a host, each sample has the label "host"; of several with the
// same host the last counts.
//
// Of a list that was not read whole no 0 is reported: the sample is absent, and kernel_extension_list_complete is 0. Of
// an image nothing says what was loaded: there is no sample of loaded modules, nor of their taints.
//
// Of single modules there is nothing, unless infoMax is more than 0: then up to that many modules of each Snapshot that
// are not known to be the operating system's have a sample of their own, and kernel_extension_info_truncated says how
// many more there are.
func Metrics(snapshots []*lkm.Snapshot, infoMax int) []Metric {
	c := &collection{hosts: len(snapshots) > 1}
	for _, s := range snapshots {
		c.hosts = c.hosts || s.Host != ""
	}
	last := make(map[string]int) // host → its last Snapshot: a sample cannot be there twice
	for i, s := range snapshots {
		last[utf8Text(s.Host)] = i
	}
	for i, s := range snapshots {
		if last[utf8Text(s.Host)] != i {
			continue
		}
		c.host, c.whole, c.loaded = utf8Text(s.Host), s.ListErr("") == nil, s.ListErr(lkm.StateLoaded) == nil
		c.modules(s)
		c.machine(s)
		if infoMax > 0 {
			c.info(s, infoMax)
		}
	}
	return c.metrics
}

// A collection gathers samples of one family after another.
type collection struct {
	hosts   bool
	host    string
	whole   bool // the host's list of modules is known to be complete
	loaded  bool // so is that of the loaded ones
	metrics []Metric
}

// utf8Text returns a text as Prometheus takes it: it refuses all samples of a machine for one that is not UTF-8.
func utf8Text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func (c *collection) add(name, help string, labels, values []string, value float64) {
	values = slices.Clone(values)
	for i := range values {
		values[i] = utf8Text(values[i])
	}
	if c.hosts {
		labels, values = append([]string{"host"}, labels...), append([]string{c.host}, values...)
	}
	i := slices.IndexFunc(c.metrics, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		i = len(c.metrics)
		c.metrics = append(c.metrics, Metric{Name: name, Help: help, Labels: labels})
	}
	c.metrics[i].Samples = append(c.metrics[i].Samples, Sample{values, value})
}

// counts adds a sample for each word, those that count nothing too if everything that may count was read.
func (c *collection) counts(name, help, label string, words []string, count map[string]int, whole bool) {
	for _, w := range words {
		if _, ok := count[w]; !ok && whole {
			count[w] = 0
		}
	}
	for _, w := range slices.Sorted(maps.Keys(count)) {
		c.add(name, help, []string{label}, []string{w}, float64(count[w]))
	}
}

func (c *collection) modules(s *lkm.Snapshot) {
	states := map[[2]string]int{}
	for _, kind := range kindsOf(s) {
		if c.loaded {
			states[[2]string{kind, string(lkm.StateLoaded)}] = 0
		}
	}
	origins, signatures := map[string]int{}, map[string]int{}
	for i := range s.Modules {
		m := &s.Modules[i]
		states[[2]string{utf8Text(string(m.Kind)), utf8Text(cmp.Or(string(m.State), unknown))}]++
		origins[utf8Text(cmp.Or(string(m.Origin.Class), unknown))]++
		signatures[utf8Text(cmp.Or(string(m.Signature.Status), unknown))]++
	}
	keys := slices.SortedFunc(maps.Keys(states), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, key := range keys {
		c.add("kernel_extensions", "Kernel extensions by kind and state.", []string{"kind", "state"}, key[:],
			float64(states[key]))
	}
	c.counts("kernel_extensions_origin", "Kernel extensions by whose code they are.", "class",
		[]string{string(lkm.OriginOS), string(lkm.OriginThirdParty), unknown}, origins, c.whole)
	c.counts("kernel_extensions_signature", "Kernel extensions by what is known of their signature.", "status",
		[]string{string(lkm.SignatureNone), string(lkm.SignatureUnchecked), string(lkm.SignatureUntrusted),
			string(lkm.SignatureValid), string(lkm.SignatureInvalid), unknown}, signatures, c.whole)
	if s.OS == lkm.Linux {
		c.taints(s)
	}
}

// taints counts the letters that loaded modules carry. No 0 is said if a module's taints are not known: lsmod does not
// print them.
func (c *collection) taints(s *lkm.Snapshot) {
	letters, whole := map[string]int{}, c.loaded
	for i := range s.Modules {
		m := &s.Modules[i]
		if !inKernel(m) || m.State == lkm.StateBuiltin {
			continue
		}
		if m.Linux == nil || m.Linux.Taints == nil {
			whole = false
			continue
		}
		for _, letter := range m.Linux.Taints {
			letters[utf8Text(letter)]++
		}
	}
	c.counts("kernel_extensions_taint", "Loaded modules that carry a taint letter.", "letter",
		[]string{"P", "O", "F", "E"}, letters, whole)
}

// kindsOf are the kinds of the Snapshot's modules; an empty one has no kinds.
func kindsOf(s *lkm.Snapshot) []string {
	kinds := map[string]bool{}
	for i := range s.Modules {
		kinds[utf8Text(string(s.Modules[i].Kind))] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

func (c *collection) machine(s *lkm.Snapshot) {
	if n, ok := s.Kernel.Taint.Get(); ok {
		c.add("kernel_extension_kernel_taint", "The kernel's taint mask.", nil, nil, float64(n))
	}
	loading := unknown
	if s.Policy != nil {
		loading = cmp.Or(string(s.Policy.Loading), unknown)
	}
	for _, w := range []string{"any", "none", "signed", unknown} {
		c.add("kernel_extension_loading", "1 for whether new code can enter the kernel: any code, signed code, none.",
			[]string{"policy"}, []string{w}, flag(w == loading))
	}
	if s.Policy != nil {
		facts := map[string]int{"known": 0, unknown: 0}
		for _, f := range s.Policy.Facts {
			if f.Unknown || f.Code != "" && f.Code != lkm.CodeAbsent {
				facts[unknown]++
			} else {
				facts["known"]++
			}
		}
		c.counts("kernel_extension_policy_facts", "Settings of the policy, known and unknown.", "value", nil, facts,
			false)
	}
	seen := map[string]bool{}
	for _, src := range s.Sources {
		if name := utf8Text(src.Name); !seen[name] {
			seen[name] = true
			c.add("kernel_extension_source_outcome", "How each source was read, as the label outcome; always 1.",
				[]string{"source", "outcome"}, []string{src.Name, string(src.Outcome)}, 1)
		}
	}
	problems := len(s.Problems)
	for i := range s.Modules {
		problems += len(s.Modules[i].Problems)
	}
	c.add("kernel_extension_problems", "What could not be read.", nil, nil, float64(problems))
	c.add("kernel_extension_list_complete", "1 if the list of modules was read whole.", nil, nil, flag(c.whole))
	c.add("kernel_extension_complete", "1 if the list of modules, and everything that was asked for, was read.", nil,
		nil, flag(c.whole && s.Err() == nil))
	if !s.TakenAt.IsZero() {
		c.add("kernel_extension_snapshot_timestamp_seconds", "When the kernel was looked at.", nil, nil,
			float64(s.TakenAt.UnixMilli())/1000)
	}
}

func (c *collection) info(s *lkm.Snapshot, most int) {
	more, done := 0, 0
	seen := make(map[string]bool) // a sample cannot be there twice
	for i := range s.Modules {
		m := &s.Modules[i]
		if !inKernel(m) || m.Origin.Class == lkm.OriginOS {
			continue
		}
		id := utf8Text(m.ID)
		if done == most || seen[id] {
			more++
			continue
		}
		done, seen[id] = done+1, true
		taints := ""
		if m.Linux != nil {
			taints = strings.Join(m.Linux.Taints, "")
		}
		c.add("kernel_extension_info", "One kernel extension that is not known to be the operating system's; always 1.",
			[]string{"id", "version", "origin", "signature", "taints"},
			[]string{id, m.Version, cmp.Or(string(m.Origin.Class), unknown),
				cmp.Or(string(m.Signature.Status), unknown), taints}, 1)
	}
	if more > 0 || c.loaded {
		c.add("kernel_extension_info_truncated", "Kernel extensions left out of kernel_extension_info.", nil, nil,
			float64(more))
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Prometheus writes metrics in Prometheus' text format, which node_exporter's textfile collector reads. Names of
// modules are chosen by others: quotes, backslashes and line ends in them are escaped, and bytes that are not UTF-8
// are replaced.
func Prometheus(w io.Writer, metrics []Metric) error {
	b := bufio.NewWriter(w)
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	for _, m := range metrics {
		b.WriteString("# HELP " + m.Name + " " + m.Help + "\n# TYPE " + m.Name + " gauge\n")
		for _, s := range m.Samples {
			b.WriteString(m.Name)
			for i, value := range s.Labels {
				separator := ","
				if i == 0 {
					separator = "{"
				}
				b.WriteString(separator + m.Labels[i] + `="` +
					escape.Replace(utf8Text(value)) + `"`)
			}
			if len(s.Labels) > 0 {
				b.WriteByte('}')
			}
			b.WriteString(" " + strconv.FormatFloat(s.Value, 'g', -1, 64) + "\n")
		}
	}
	return b.Flush()
}
