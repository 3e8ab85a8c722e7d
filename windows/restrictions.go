// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// restrictionsKey has what an administrator's policy restricts of installing devices (DeviceInstallation.admx).
const restrictionsKey = `SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions`

// maxRestrictions is how many entries of one list are compared.
const maxRestrictions = 10_000

// restrictions are the policies in force on which devices may be installed. The zero value restricts nothing.
type restrictions struct {
	denyIDs, denyClasses   []string // hardware and compatible ids; class GUIDs without braces; folded
	allowIDs, allowClasses []string
	allowInstances         bool // devices by instance id may be installed
	unspecified            bool // what no policy describes is denied
	removable              bool // removable devices are denied
	administrators         bool // administrators may install what is denied
	layered                bool // the more specific policy wins; else what denies does
	err                    error
}

// readRestrictions reads the policies. A list counts if the value of its name is 1.
func (k *Kernel) readRestrictions(ctx context.Context) *restrictions {
	r := &restrictions{}
	key, err := k.anyKey(ctx, restrictionsKey)
	switch {
	case errors.Is(err, errNotThere), fact.Lacks(err): // of an image not its hive that is missing
		return r
	case err != nil:
		r.err = err
		return r
	}
	on := func(name string) bool { n, ok := key.Dword(name); return ok && n == 1 }
	r.unspecified, r.removable = on("DenyUnspecified"), on("DenyRemovableDevices")
	r.administrators, r.layered = on("AllowAdminInstall"), on("AllowDenyLayered")
	r.allowInstances = on("AllowInstanceIDs")
	for _, l := range []struct {
		name string
		list *[]string
	}{
		{"DenyDeviceIDs", &r.denyIDs}, {"DenyDeviceClasses", &r.denyClasses},
		{"AllowDeviceIDs", &r.allowIDs}, {"AllowDeviceClasses", &r.allowClasses},
	} {
		if !on(l.name) {
			continue
		}
		sub, err := k.anyKey(ctx, restrictionsKey+`\`+l.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && len(sub.Values) > maxRestrictions:
			err = fact.ErrTooLarge
		}
		if err != nil {
			r.err = err
			continue
		}
		for _, v := range sub.Values {
			if text, ok := sub.Text(v.Name); ok && text != "" {
				*l.list = append(*l.list, strings.Trim(fold(text), "{}"))
			}
		}
	}
	return r
}

// admits answers whether a device with one of the ids may be installed with a package of the class, and returns the ids
// that are not denied. A device has more ids than those of the package, and any of them counts.
func (r *restrictions) admits(ids []string, class string) (fact.Answer, []string) {
	because := func(text string) fact.Reason {
		return fact.Reason{Code: ReasonRestricted, File: restrictionsKey, Text: text}
	}
	if r.err != nil {
		return fact.UnsureOf(because("the policy on installing devices could not be read: " + r.err.Error())), ids
	}
	free := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(r.denyIDs, fold(id)) })
	denied := slices.Contains(r.denyClasses, class) || len(ids) > 0 && len(free) == 0
	allowed := slices.Contains(r.allowClasses, class) ||
		slices.ContainsFunc(free, func(id string) bool { return slices.Contains(r.allowIDs, fold(id)) })
	allows := len(r.allowIDs)+len(r.allowClasses) > 0 || r.allowInstances
	switch {
	case denied && (r.administrators || r.layered && allows):
		return fact.UnsureOf(because("a policy on installing devices denies it, and another one may allow it")), nil
	case denied:
		return fact.Stops(because("a policy on installing devices denies its devices or their class")), nil
	case r.unspecified && !r.layered && !allowed && (allows || r.administrators):
		return fact.UnsureOf(because("a policy denies devices that no policy allows: whether one allows such " +
			"a device depends on its other ids")), nil
	case r.unspecified && !r.layered && !allowed:
		return fact.Stops(because("a policy denies the installation of every device that no policy allows")), nil
	case r.removable:
		return fact.UnsureOf(because("a policy denies the installation of removable devices")), nil
	}
	return fact.Answer{}, free
}
