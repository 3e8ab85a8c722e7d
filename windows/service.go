// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows/registry"
)

// maxServices is how many services a list may hold; a desktop has some 800 drivers and services.
const maxServices = 65536

// maxInstances is how many filter instances of a service are kept.
const maxInstances = 256

// serviceTypeDriver is the mask of the service types that are drivers: kernel, file system and
// recognizer.
const serviceTypeDriver = 0x0b

// A ServiceStatus is one driver of the service manager's list.
type ServiceStatus struct {
	Name            string `json:"name"`                     // the service's name
	DisplayName     string `json:"displayName,omitzero"`     // may be an unresolved @file,-id
	Type            uint32 `json:"type"`                     // SERVICE_KERNEL_DRIVER and its like
	State           uint32 `json:"state"`                    // SERVICE_RUNNING and its like
	Controls        uint32 `json:"controls,omitzero"`        // accepted controls
	ExitCode        uint32 `json:"exitCode,omitzero"`        // of the last stop
	ServiceExitCode uint32 `json:"serviceExitCode,omitzero"` // the service's own
	ProcessID       uint32 `json:"processId,omitzero"`       // 0 for a driver
	Flags           uint32 `json:"flags,omitzero"`           // 0 for a driver
}

// AppendServices writes statuses in the form of OpServices.
func AppendServices(dst []byte, list []ServiceStatus) []byte {
	for _, s := range list {
		dst = appendJSONLine(dst, s)
	}
	return dst
}

func appendJSONLine(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // a plain struct of strings and numbers
		return dst
	}
	return append(append(dst, b...), '\n')
}

// parseServices reads the answer to OpServices.
func parseServices(b []byte) ([]ServiceStatus, error) {
	return jsonLines(SourceServices, b, maxServices, func(s *ServiceStatus) bool { return s.Name != "" })
}

// jsonLines reads one object a line; it returns an error for an invalid line, because this library writes these lines.
func jsonLines[T any](source string, b []byte, most int, ok func(*T) bool) ([]T, error) {
	list := []T{}
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(list) == most {
			return nil, &fact.ParseError{Source: source, Line: n, Reason: fmt.Sprintf("more than %d entries", most),
				Err: fact.ErrTooLarge}
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, &fact.ParseError{Source: source, Line: n, Reason: err.Error()}
		}
		if !ok(&v) {
			return nil, &fact.ParseError{Source: source, Line: n, Reason: "an entry without a name"}
		}
		list = append(list, v)
	}
	return list, nil
}

// A Service is one registration of a driver, joined from the service manager and the registry.
type Service struct {
	// Name is the service's name: the registry key's.
	Name string `json:"name"`
	// DisplayName is the name for people; one that refers to a resource that only Windows can look up is left
	// unchanged.
	DisplayName string `json:"displayName,omitzero"`
	// Type is kernel_driver, file_system_driver, recognizer_driver or adapter; another one is a
	// number.
	Type string `json:"type,omitzero"`
	// Start is boot, system, auto, demand or disabled; another one is a number.
	Start string `json:"start,omitzero"`
	// ErrorControl is ignore, normal, severe or critical; another one is a number.
	ErrorControl string `json:"errorControl,omitzero"`
	// State is the service manager's word: stopped, start_pending, stop_pending, running,
	// continue_pending, pause_pending or paused; absent when it does not list the service.
	State string `json:"state,omitzero"`
	// ExitCode is the Windows error of the last stop; absent when it was 0 or is unknown.
	ExitCode fact.Count `json:"exitCode,omitzero"`
	// ImagePath is the registry's value, unchanged; absent if the key has no such value.
	ImagePath string `json:"imagePath,omitzero"`
	// ImagePathRule is the rule that ImagePath was resolved by; absent when the registry does not have the service.
	ImagePathRule string `json:"imagePathRule,omitzero"`
	// ImagePathMarks are what was put right in ImagePath first.
	ImagePathMarks []string `json:"imagePathMarks,omitzero"`
	// ImageFile is the DOS path that it was resolved to; absent when that could not be done.
	ImageFile string `json:"imageFile,omitzero"`
	// Group is the load order group.
	Group string `json:"group,omitzero"`
	// Tag is the place in Group.
	Tag fact.Count `json:"tag,omitzero"`
	// ObjectName is the driver object's name when the registry sets one.
	ObjectName string `json:"objectName,omitzero"`
	// DependsOn are the services, and the groups with a leading +, that must be there first.
	DependsOn []string `json:"dependsOn,omitzero"`
	// Owners are the INF files that installed it.
	Owners []string `json:"owners,omitzero"`
	// Instances are the configured attachments of a minifilter.
	Instances []FilterInstance `json:"instances,omitzero"`
	// DefaultInstance is the name of one of Instances.
	DefaultInstance string `json:"defaultInstance,omitzero"`
	// Ephemeral marks a name that looks made up for one run, so that no two machines or boots
	// share it: a guess from its form.
	Ephemeral bool `json:"ephemeral,omitzero"`
	// StateWord is the localized word of a text capture for State, when it is not ours.
	StateWord string `json:"stateWord,omitzero"`
	// StartWord is the localized word of a text capture for Start, when it is not ours.
	StartWord string `json:"startWord,omitzero"`

	override string // what the boot loader takes in place of Start, by the key StartOverride; empty without one
}

// A FilterInstance is a minifilter's attachment as configured in the registry; whether it is
// attached only the filter manager knows.
type FilterInstance struct {
	// Name is the instance's name: its registry key.
	Name string `json:"name"`
	// Altitude is a decimal number of any length, kept as text.
	Altitude string `json:"altitude,omitzero"`
	// Flags are the registry's number: 1 and 2 suppress attachments.
	Flags fact.Count `json:"flags,omitzero"`
}

var (
	serviceStarts = []string{"boot", "system", "auto", "demand", "disabled"}
	errorControls = []string{"ignore", "normal", "severe", "critical"}
	serviceStates = []string{
		"", "stopped", "start_pending", "stop_pending", "running", "continue_pending", "pause_pending", "paused"}
	stateStopped = "stopped"
	stateRunning = "running"
)

func wordOf(words []string, n uint32) string {
	if int64(n) < int64(len(words)) && words[n] != "" {
		return words[n]
	}
	return strconv.FormatUint(uint64(n), 10)
}

func typeWord(n uint32) string {
	switch n &^ 0x100 { // SERVICE_INTERACTIVE_PROCESS
	case 1:
		return "kernel_driver"
	case 2:
		return "file_system_driver"
	case 4:
		return "adapter"
	case 8:
		return "recognizer_driver"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// registered reports whether the registry has it: only there is an image path to read, or none by rule.
func (s *Service) registered() bool { return s.ImagePathRule != "" }

// A registeredService is what the registry has of one driver service.
type registeredService struct {
	Service
	// TypeNumber is the registry's number of Type, HasType whether it has one.
	TypeNumber uint32
	HasType    bool
	// Whole is the DOS path of ImagePath with what looks like arguments; empty if nothing does.
	Whole string
	// Refused is set if the key, or its type, could not be read: only the name is known, not even whether it is a
	// driver.
	Refused bool
	// Problems say why ImageFile is empty, or why the key is Refused. They become those of the image's record.
	Problems []fact.Problem
}

// problem adds a Problem about the service.
func (s *registeredService) problem(field string, err error) {
	s.Problems = append(s.Problems, fact.ProblemOf(SourceRegistry, s.Name, field, err))
}

var (
	errLostValue  error = &sentinel.Error{Before: "values that cannot be read", Cause: fact.ErrMalformed}
	errRefusedKey error = &sentinel.Error{
		Before: "the service's registry key cannot be opened", Cause: fs.ErrPermission}
	errClosedKeys error = &sentinel.Error{Before: "keys of services that cannot be opened", Cause: fs.ErrPermission}
	errLinkedKey  error = &sentinel.Error{
		Before: "the service's registry key is a link to another one", Cause: errors.ErrUnsupported}
	errOddType error = &sentinel.Error{Before: "the service's type is not a number", Cause: fact.ErrMalformed}
	errOddPath error = &sentinel.Error{Before: "the service's image path is not text", Cause: fact.ErrMalformed}
)

// parseServiceKeys reads the answer to OpServiceKeys. A key without a type, or with one that is not a driver's, is left
// out: other programs keep their settings there. A key that could not be opened, or whose type could not be read, is
// in the list, Refused.
func parseServiceKeys(b []byte, p ntPaths, r *fact.Report) ([]registeredService, error) {
	keys, err := registry.ParseText(SourceRegistry, b, r)
	if err != nil {
		return nil, err
	}
	return servicesOf(keys, p, r), nil
}

// servicesOf returns the driver services of keys at and below …\Services.
func servicesOf(keys []registry.Key, p ntPaths, r *fact.Report) []registeredService {
	list := []registeredService{}
	index := map[string]int{}
	lost, closed, linked, odd := 0, 0, 0, 0
	for i := range keys {
		name, sub, ok := serviceKey(keys[i].Path)
		if !ok {
			continue
		}
		if sub != "" {
			if at, ok := index[fold(name)]; ok {
				list[at].addInstance(&keys[i], sub)
			}
			continue
		}
		if keys[i].Partial {
			lost++
		}
		s, isDriver := readService(&keys[i], name, p)
		_, typed := keys[i].Value("Type")
		switch {
		case isLink(&keys[i]):
			linked++
			list = append(list, refusedService(name, errLinkedKey))
			continue
		case typed && !s.HasType && registers(&keys[i]):
			odd++
			list = append(list, refusedService(name, errOddType))
			continue
		case keys[i].Refused:
			closed++
			list = append(list, refusedService(name, errRefusedKey))
			continue
		case keys[i].Partial && !s.HasType:
			list = append(list, refusedService(name, errLostValue))
			continue
		}
		if !isDriver {
			continue
		}
		index[fold(name)] = len(list)
		list = append(list, s)
	}
	countedProblem(r, lost, errLostValue)
	countedProblem(r, closed, errClosedKeys)
	countedProblem(r, linked, errLinkedKey)
	countedProblem(r, odd, errOddType)
	return list
}

func refusedService(name string, err error) registeredService {
	s := registeredService{Service: Service{Name: name}, Refused: true}
	s.problem("imagePath", err)
	return s
}

// countedProblem reports n services of one cause; it reports nothing for 0.
func countedProblem(r *fact.Report, n int, err error) {
	if n > 0 {
		p := fact.ProblemOf(SourceRegistry, "", "services", err)
		p.Count = n
		r.Add(p)
	}
}

// serviceKey splits HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\NAME[\SUB].
func serviceKey(path string) (name, sub string, ok bool) {
	i := indexFold(path, `\services\`)
	if i < 0 {
		return "", "", false
	}
	name, sub, _ = strings.Cut(path[i+len(`\services\`):], `\`)
	return name, sub, name != ""
}

// typeLink is the type of the value that makes a key a link to another one.
const typeLink = 6

// isLink reports whether a key is a link to another one, whose values are the key's for the kernel and the service
// manager.
func isLink(k *registry.Key) bool {
	v, ok := k.Value("SymbolicLinkValue")
	return ok && v.Type == typeLink
}

// registers reports whether a key below Services registers something that starts; other programs keep settings there.
func registers(k *registry.Key) bool {
	_, start := k.Value("Start")
	_, path := k.Value("ImagePath")
	return start || path
}

// mayBeDriver reports whether a key below Services may register a driver: by its type, or because it is not known.
// What starts with the boot loader or the kernel is loaded as a driver whatever its type is: CmpIsLoadType of the
// kernel looks at the value Start alone.
func mayBeDriver(k *registry.Key) bool {
	typ, ok := k.Dword("Type")
	switch _, typed := k.Value("Type"); {
	case k.Refused, isLink(k), ok && isDriverType(typ), !ok && (k.Partial || typed && registers(k)):
		return true
	}
	start, ok := k.Dword("Start")
	return ok && start <= 1
}

// isDriverType reports whether a service type is a driver's.
func isDriverType(n uint32) bool { return n&serviceTypeDriver != 0 && n&0x30 == 0 }

// oddType reports whether the service's type is not a driver's: its start type alone makes the kernel load it.
func (s *Service) oddType() bool {
	switch s.Type {
	case "kernel_driver", "file_system_driver", "recognizer_driver", "adapter":
		return false
	}
	n, err := strconv.ParseUint(s.Type, 10, 32)
	return err != nil || !isDriverType(uint32(n))
}

func readService(k *registry.Key, name string, p ntPaths) (registeredService, bool) {
	s := registeredService{Service: Service{Name: name}}
	s.TypeNumber, s.HasType = k.Dword("Type")
	if !mayBeDriver(k) {
		return s, false
	}
	if s.HasType {
		s.Type = typeWord(s.TypeNumber)
	}
	if n, ok := k.Dword("Start"); ok {
		s.Start = wordOf(serviceStarts, n)
	}
	if n, ok := k.Dword("ErrorControl"); ok {
		s.ErrorControl = wordOf(errorControls, n)
	}
	if n, ok := k.Dword("Tag"); ok {
		s.Tag = fact.CountOf(int64(n))
	}
	name, _ = k.Text("DisplayName")
	s.DisplayName = displayName(name)
	s.Group, _ = k.Text("Group")
	s.ObjectName, _ = k.Text("ObjectName")
	s.DependsOn, _ = k.Multi("DependOnService")
	if groups, ok := k.Multi("DependOnGroup"); ok {
		for _, g := range groups {
			s.DependsOn = append(s.DependsOn, "+"+g)
		}
	}
	s.Owners, _ = k.Multi("Owners")
	s.Ephemeral = isEphemeral(s.Name)
	raw, ok := k.Text("ImagePath")
	_, odd := k.Value("ImagePath")
	switch {
	case !ok && odd:
		s.ImagePathRule = RuleUnread
		s.problem("path", errOddPath)
		return s, true
	case !ok && k.Partial:
		s.ImagePathRule = RuleUnread
		s.problem("path", errLostValue)
		return s, true
	}
	ip, err := p.resolveImagePath(s.Name, raw)
	s.ImagePath, s.ImagePathRule, s.ImagePathMarks, s.ImageFile = ip.Raw, ip.Rule, ip.Marks, ip.Path
	s.Whole = ip.Whole
	if err != nil {
		s.problem("path", err)
	}
	return s, true
}

// displayName is what a DisplayName shows: of a reference to a resource that comes with its text,
// as those of INF files do (@oem7.inf,%Name%;Text), the text.
func displayName(s string) string {
	if _, text, ok := strings.Cut(s, ";"); ok && text != "" && strings.HasPrefix(s, "@") {
		return text
	}
	return s
}

// overrideKey is the key of a service with start types that the boot loader takes in place of its own.
const overrideKey = "StartOverride"

// startOverride returns the start type that the key has; of several, or of one that is no number, that is not known.
func startOverride(k *registry.Key) string {
	switch n, ok := k.Dword("0"); {
	case ok && len(k.Values) == 1:
		return wordOf(serviceStarts, n)
	case len(k.Values) > 0 || k.Partial:
		return "unknown"
	}
	return ""
}

// addInstance reads StartOverride, and …\Instances (older drivers) and …\Parameters\Instances (the newer place) with
// the keys below them.
func (s *registeredService) addInstance(k *registry.Key, sub string) {
	if len(sub) > len(`Parameters\`) && strings.EqualFold(sub[:len(`Parameters\`)], `Parameters\`) {
		sub = sub[len(`Parameters\`):]
	}
	if strings.EqualFold(sub, overrideKey) {
		s.override = startOverride(k)
		return
	}
	if strings.EqualFold(sub, "Instances") {
		s.DefaultInstance, _ = k.Text("DefaultInstance")
		return
	}
	if !hasFoldPrefix(sub, `Instances\`) {
		return
	}
	name := sub[len(`Instances\`):]
	if strings.Contains(name, `\`) || len(s.Instances) >= maxInstances {
		return
	}
	in := FilterInstance{Name: name}
	in.Altitude, _ = k.Text("Altitude")
	if n, ok := k.Dword("Flags"); ok {
		in.Flags = fact.CountOf(int64(n))
	}
	s.Instances = append(s.Instances, in)
}

// merge adds what the service manager says.
func (s *Service) merge(st ServiceStatus) {
	s.State = wordOf(serviceStates, st.State)
	if st.ExitCode != 0 {
		s.ExitCode = fact.CountOf(int64(st.ExitCode))
	}
	if s.Type == "" {
		s.Type = typeWord(st.Type)
	}
	better := strings.HasPrefix(s.DisplayName, "@") && !strings.HasPrefix(st.DisplayName, "@") && st.DisplayName != ""
	if s.DisplayName == "" || better {
		s.DisplayName = st.DisplayName
	}
}

// isEphemeral reports whether a service's name looks made up for one run: it holds a GUID, or
// eight or more hexadecimal digits in a row at its end, digits and letters mixed.
func isEphemeral(name string) bool {
	if hasGUID(name) {
		return true
	}
	n := 0
	var digit, letter bool
	for i := len(name) - 1; i >= 0 && isHex(name[i]); i-- {
		n++
		if name[i] <= '9' {
			digit = true
		} else {
			letter = true
		}
	}
	return n >= 8 && digit && letter
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hasGUID(s string) bool {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	for i := 0; i+len(form) <= len(s); i++ {
		if matchesGUID(s[i:i+len(form)], form) {
			return true
		}
	}
	return false
}

func matchesGUID(s, form string) bool {
	for i := range len(form) {
		if form[i] == '-' && s[i] != '-' || form[i] == 'x' && !isHex(s[i]) {
			return false
		}
	}
	return true
}

// mayName reports whether a service that the list has no image of may name the file: its key, or its
// path, could not be read, or leads by a name that is not resolved to one like the file's.
func (s *registeredService) mayName(p ntPaths, file string) bool {
	if s.Refused || s.ImagePath == "" && s.ImageFile == "" || hasShortName(file) {
		return true
	}
	if s.ImageFile == "" {
		return hasShortName(s.ImagePath) || strings.Contains(fold(s.ImagePath), fold(file))
	}
	if !hasShortName(s.ImageFile) || p.Long[fold(s.ImageFile)] != "" {
		return false
	}
	return mayBeShort(baseName(s.ImageFile), file)
}

// mayBeShort reports whether a name may be the file's short one: such a name begins with the first letter,
// after blanks and dots, of the long one.
func mayBeShort(name, file string) bool {
	if !hasShortName(name) {
		return strings.EqualFold(name, file)
	}
	first := strings.TrimLeft(file, " .")
	if first == "" || !strings.ContainsAny(first[:1],
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") {
		return true // it is left out, or another stands for it
	}
	return strings.EqualFold(first[:1], name[:1])
}
