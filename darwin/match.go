// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A DeviceMatch is how a kext answers to the device that a query names, by the best of its personalities.
type DeviceMatch struct {
	// Personality is the name of the personality.
	Personality string `json:"personality,omitzero"`
	// Sure is yes if the personality matches. It is absent if it may match: the query does not say all that it asks
	// for.
	Sure fact.Tri `json:"sure,omitzero"`
	// Score is the probe score, by which the system orders drivers: of a USB device with that of its family's rules.
	Score fact.Count `json:"score,omitzero"`
	// Unjudged are the keys of the personality that the query says nothing of, sorted; empty if Sure is yes.
	Unjudged []string `json:"unjudged,omitzero"`
}

// nubFamily returns the family of a class of nubs, unknown for any other class. The names of IOUSBFamily and of
// IOUSBHostFamily stand for the same nubs since OS X 10.11.
func nubFamily(class string) family {
	switch class {
	case "IOPCIDevice":
		return familyPCI
	case "IOUSBHostDevice", "IOUSBDevice", "IOUSBHostInterface", "IOUSBInterface", "IOUSBNub":
		return familyUSB
	case "IOACPIPlatformDevice":
		return familyACPI
	}
	return familyUnknown
}

// isRoot reports whether every nub is of the class: all are derived from it.
func isRoot(class string) bool { return class == "IOService" || class == "IORegistryEntry" }

// isInterface reports whether a provider's class is that of a USB interface; the others are of devices.
func isInterface(class string) bool {
	return class == "IOUSBHostInterface" || class == "IOUSBInterface"
}

// A judgment collects what is known of one personality's match.
type judgment struct {
	fits     int      // keys that fit
	unjudged []string // keys that the query says nothing of
	score    int64    // of a family's rules
	no       bool
}

// add takes the answer of one key.
func (j *judgment) add(key string, fits fact.Tri) {
	switch fits {
	case fact.Yes:
		j.fits++
	case fact.No:
		j.no = true
	default:
		if !slices.Contains(j.unjudged, key) {
			j.unjudged = append(j.unjudged, key)
		}
	}
}

// answer returns yes or no, or is empty if the query does not decide it.
func (j *judgment) answer() fact.Tri {
	switch {
	case j.no:
		return fact.No
	case len(j.unjudged) > 0:
		return ""
	}
	return fact.Yes
}

// matches says whether a personality is for the device, as IOKit does (XNU, IOService::matchPassive): the provider's
// class and the generic keys, then the keys of the nub's own family. Keys of other families count for nothing. Of a
// device whose nub is not known, a personality must at least have one key that fits.
func (d *device) matches(p *Personality) judgment {
	var j judgment
	f := d.family(p.ProviderClass)
	if f == familyUnknown {
		j.no = true
		return j
	}
	for _, m := range p.Match {
		switch {
		case m.Key == "IONameMatch" || m.Key == "IOCompatibleMatch":
			j.add(m.Key, d.fitsName(f, m.Values))
		case slices.Contains(genericKeys, m.Key):
			j.add(m.Key, "")
		case m.Key == "IOResourceMatch" && f == familyOther:
			j.add(m.Key, "") // other nubs do not look at it
		case f == familyPCI:
			if r := d.pciRegister(m.Key); r != nil {
				j.add(m.Key, d.fitsPCI(m))
			}
		case f == familyOther && m.Key != "IOResourceMatch":
			j.add(m.Key, d.fitsNumber(m))
		}
	}
	if f == familyUSB {
		d.matchUSB(p, &j)
	}
	if (d.Family == familyUnknown || d.Family == familyOther || isRoot(p.ProviderClass)) && j.fits == 0 {
		j.no = true
	}
	return j
}

// genericKeys are compared by IOService for every nub, with what no query says: other properties, places, ancestors.
var genericKeys = []string{"IOBSDName", "IOLocationMatch", "IOParentMatch", "IOPathMatch", "IOPropertyExistsMatch",
	"IOPropertyMatch", "IORegistryEntryID"}

// family returns the family whose rules count for a personality of the provider's class; unknown if the device has no
// such nub.
func (d *device) family(class string) family {
	if d.Provider != "" && d.Provider != class && !isRoot(class) && !d.sameUSB(class) {
		return familyUnknown
	}
	switch f := nubFamily(class); {
	case f != familyUnknown && (d.Family == f || d.Family == familyUnknown):
		return f
	case f != familyUnknown:
		return familyUnknown
	case isRoot(class) && d.Family != familyUnknown:
		return d.Family
	case d.Family == familyUnknown, d.Family == familyOther && (d.Provider == class || isRoot(class)):
		return familyOther
	}
	return familyUnknown
}

// sameUSB reports whether the provider that the query names and a class are the old and the new name of one nub.
func (d *device) sameUSB(class string) bool {
	return nubFamily(class) == familyUSB && nubFamily(d.Provider) == familyUSB &&
		isInterface(class) == isInterface(d.Provider)
}

// fitsName compares names as IODTCompareNubName does: case counts, and a "*" at the end stands for any end. Firmware
// gives nubs names that no query says; only those that the ids make are known to be all there are.
func (d *device) fitsName(f family, values []string) fact.Tri {
	fits := fact.No
	for _, v := range values {
		prefix, wild := strings.CutSuffix(v, "*")
		for _, n := range d.Names {
			if n == v || wild && strings.HasPrefix(n, prefix) {
				return fact.Yes
			}
		}
		if !d.namesKnown(f, v) {
			fits = ""
		}
	}
	return fits
}

// namesKnown reports whether the device would get the name from the query, if it has the name.
func (d *device) namesKnown(f family, name string) bool {
	switch f {
	case familyPCI:
		return strings.HasPrefix(name, "pci") && d.Primary.known == 0xffffffff && d.Secondary.known == 0xffffffff &&
			d.Class.known&0xffffff00 == 0xffffff00
	case familyACPI:
		return isHardwareID(name)
	}
	return len(d.Names) > 0
}

// isHardwareID reports whether an ACPI name is a plug-and-play id, such as PNP0C0A or ACPI0003, which a modalias lists;
// others are names of objects, such as BAT0.
func isHardwareID(name string) bool {
	if len(name) != 7 && len(name) != 8 {
		return false
	}
	for i := len(name) - 4; i < len(name); i++ {
		if !strings.ContainsRune("0123456789ABCDEF", rune(name[i])) {
			return false
		}
	}
	return true
}

// fitsNumber compares a property of a nub of an unknown family with any of the values.
func (d *device) fitsNumber(m Match) fact.Tri {
	got, ok := d.Numbers[m.Key]
	if !ok {
		return ""
	}
	return fact.TriOf(slices.Contains(m.numbers(), got))
}

// best returns how the personalities in info answer to the device: the sure one with the highest score, else one that
// may match; nil if none can.
func (d *device) best(info *BundleInfo) *DeviceMatch {
	var best *DeviceMatch
	for i := range info.Personalities {
		p := &info.Personalities[i]
		j := d.matches(p)
		if j.no {
			continue
		}
		slices.Sort(j.unjudged)
		probe, _ := p.ProbeScore.Get()
		m := &DeviceMatch{Personality: p.Name, Sure: j.answer(), Unjudged: j.unjudged,
			Score: fact.CountOf(usbScore(j.score, probe))}
		if best == nil || m.compare(best) < 0 {
			best = m
		}
	}
	return best
}

// compare orders matches: sure ones first, then the higher score.
func (m *DeviceMatch) compare(other *DeviceMatch) int {
	if m.Sure != other.Sure {
		if m.Sure == fact.Yes {
			return -1
		}
		return 1
	}
	a, _ := m.Score.Get()
	b, _ := other.Score.Get()
	return -cmp.Compare(a, b)
}

// problem returns what the query leaves open; nil for a sure match.
func (m *DeviceMatch) problem() error {
	if m.Sure == fact.Yes {
		return nil
	}
	return fmt.Errorf("it may match: the query does not say %s", strings.Join(m.Unjudged, ", "))
}
