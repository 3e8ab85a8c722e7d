// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/registry"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// The list that comes with Windows is in force, or not, only by what is known for sure: a switch that asks for code
// integrity by the hypervisor does not say that it runs, and without the list's own switch the default is not known.
func TestBuiltInList(t *testing.T) {
	for _, tt := range []struct {
		hvci, wanted, list string
		want               fact.Tri
	}{
		{"yes", "", "", fact.Yes}, {"yes", "0", "0", fact.Yes}, {"", "", "1", fact.Yes}, {"no", "0", "1", fact.Yes},
		{"", "1", "", ""}, {"", "1", "0", ""}, {"no", "1", "0", ""}, {"audit", "1", "0", ""},
		{"no", "0", "", ""}, {"", "", "0", ""}, {"", "", "", ""}, {"audit", "0", "0", ""},
		{"no", "0", "0", fact.No}, {"no", "", "0", fact.No}, {"", "0", "0", fact.No},
	} {
		c := &checker{ctx: context.Background(), policy: &fact.Policy{Facts: []fact.PolicyFact{
			{Name: PolicyHVCI, Value: tt.hvci},
			{Name: PolicyHVCIConfig, Value: tt.wanted}, {Name: PolicyBlockList, Value: tt.list}}}}
		c.kernel = Open(policyMachine{}, fact.Options{})
		if got := c.builtInList(); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
		// Smart App Control and S mode put the list into force whatever its switch is.
		for _, v := range []registry.Value{registry.DwordValue("VerifiedAndReputablePolicyState", 1),
			registry.DwordValue("SkuPolicyRequired", 1), registry.StringValue("SkuPolicyRequired", 1, "1"),
			registry.DwordValue("VerifiedAndReputablePolicyState", 2)} {
			want := tt.want
			if off := len(v.Data) == 4 && v.Data[0] == 2; want == fact.No && !off {
				want = ""
			}
			c.kernel = Open(policyMachine{keys: map[string]registry.Key{ciPolicyKey: {Path: ciPolicyKey,
				Values: []registry.Value{v}}}}, fact.Options{})
			if got := c.builtInList(); got != want {
				t.Errorf("%+v, %s: %q", tt, v.Name, got)
			}
		}
	}
}

// What a compiled policy denies stops a driver only if the policy enforces and may deny.
func TestPolicyMayDeny(t *testing.T) {
	const base, own = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	for name, tt := range map[string]struct {
		options  uint32
		id, base string
		path     string
		want     fact.Tri
		says     string
	}{
		"a policy":     {id: own, base: own, want: fact.Yes},
		"an old form":  {want: fact.Yes},
		"a supplement": {id: own, base: base, says: "supplements"},
		"audit":        {options: sipolicy.OptionAudit, id: own, base: own, want: fact.No, says: "only reports"},
		"a supplement, audit": {options: sipolicy.OptionAudit, id: own, base: base, want: fact.No,
			says: "only reports"},
		"by path": {id: own, base: own, path: `%OSDRIVE%\*`, says: "user-mode code alone"},
	} {
		p := &sipolicy.Policy{Format: 7, Options: tt.options, ID: tt.id, BaseID: tt.base,
			Rules: []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "x.sys", FilePath: tt.path,
				Minimum: sipolicy.AnyVersion}},
			Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
				Product: sipolicy.Group{Rules: []int{0}}}}}
		var r fact.Report
		read, err := sipolicy.Parse(policytest.Compile(p), nil)
		if err != nil {
			t.Fatal(name, err)
		}
		l := systemList{BlockList: compiledList(read, &r), file: "L"}
		c := &checker{image: true, kernel: noKeys(), policy: &fact.Policy{}}
		hits := l.Match(BlockEvidence{Version: versionOf("x.sys", "1.0.0.0"), Path: `C:\x.sys`})
		if len(hits) != 1 || len(r.Problems) > 0 {
			t.Fatalf("%s: %+v, %v", name, hits, r.Problems)
		}
		a := c.listed(&l, &hits[0])
		if a.Blocked() != tt.want || !strings.Contains(a.Because().Text, tt.says) {
			t.Errorf("%s: %q because %s", name, a.Blocked(), a.Because().Text)
		}
	}
}

// A policy stops nothing where code integrity is off, is not known to be on, or has a debugger in its way. Test signing
// changes nothing of it.
func TestPolicyEnforced(t *testing.T) {
	for name, tt := range map[string]struct {
		options        codeIntegrity
		unread         bool
		debugger, list string
		code           fact.Code // of the debugger's fact
		builtIn        bool
		doubt          string
		want           fact.Tri
	}{
		"on":                          {options: ciEnabled, want: fact.Yes},
		"off":                         {options: 0},
		"not read":                    {unread: true},
		"test signing":                {options: ciEnabled | ciTestSign, want: fact.Yes},
		"debug mode":                  {options: ciEnabled | ciDebugMode},
		"debug mode and HVCI":         {options: ciEnabled | ciDebugMode | ciHVCI, want: fact.Yes},
		"a debugger":                  {options: ciEnabled, debugger: "attached"},
		"a debugger and HVCI":         {options: ciEnabled | ciHVCI, debugger: "attached", want: fact.Yes},
		"debugging without one":       {options: ciEnabled, debugger: "enabled", want: fact.Yes},
		"a debugger, not read":        {options: ciEnabled, code: fact.CodePermission},
		"a debugger, not recorded":    {options: ciEnabled, code: fact.CodeUnrecorded},
		"a debugger, an older tape":   {options: ciEnabled, code: fact.CodeOlder},
		"not read, and HVCI":          {options: ciEnabled | ciHVCI, code: fact.CodePermission, want: fact.Yes},
		"a Windows without debuggers": {options: ciEnabled, code: fact.CodeAbsent, want: fact.Yes},
		"Windows' list":               {options: ciEnabled, builtIn: true, list: "1", want: fact.Yes},
		"Windows' list, off":          {options: 0, builtIn: true, list: "1"},
		"Windows' list, switched off": {options: ciEnabled, builtIn: true, list: "0", want: fact.No},
		"in doubt":                    {options: ciEnabled, doubt: "; why"},
		"in doubt, switched off":      {options: 0, builtIn: true, list: "0", doubt: "; why", want: fact.No},
	} {
		p := &fact.Policy{Loading: tt.options.Loading(), Facts: []fact.PolicyFact{
			{Name: PolicyCodeIntegrity, Value: strings.Join(tt.options.Words(), " ")},
			{Name: PolicyHVCI, Value: tt.options.HVCI()}, {Name: PolicyDebugger, Value: tt.debugger, Code: tt.code},
			{Name: PolicyBlockList, Value: tt.list}}}
		if tt.unread {
			p.Loading, p.Facts[0] = "", unknownFact(PolicyCodeIntegrity, SourcePolicy, fact.ErrUnrecorded)
		}
		l := systemList{BlockList: &BlockList{Name: "L"}, file: "F", builtIn: tt.builtIn, doubt: tt.doubt}
		c := &checker{ctx: context.Background(), kernel: noKeys(), policy: p}
		a := c.listed(&l, &BlockMatch{Rule: "R", Strength: StrengthStrong})
		if a.Blocked() != tt.want || a.Because().Code != ReasonBlockList || a.Because().Text == "" {
			t.Errorf("%s: %q because %+v", name, a.Blocked(), a.Because())
		}
	}
}

// A policy that denies the signer of a catalog which the kernel does not look up may not stop the driver.
func TestUncountedSigner(t *testing.T) {
	p := &siPolicy{}
	m := p.result("L", "S", "", RuleSigner, groupProduct, fact.Evidence{Fact: factUncounted, Value: "x.cat"})
	c := &checker{policy: &fact.Policy{}}
	a := c.listed(&systemList{BlockList: &BlockList{Name: "L", policy: p}, file: "L"}, &m)
	if m.Strength != StrengthWeak || a.Blocked() != "" || !strings.Contains(a.Because().Text, "does not look up") {
		t.Errorf("%s: %q because %s", m.Strength, a.Blocked(), a.Because().Text)
	}
}

// refusing is a machine that answers one question with an error, unless that is nil.
type refusing struct {
	op  string
	err error
	policyFiles
}

func (m refusing) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if op == m.op && m.err != nil {
		return nil, m.err
	}
	return m.policyFiles.Call(ctx, op, args...)
}

// With a debugger at the kernel, or without an answer to whether one is there, it is not known whether signatures are
// asked for, but under the hypervisor they are.
func TestDebuggerLoading(t *testing.T) {
	for name, tt := range map[string]struct {
		integrity, debugger string
		fails               error // the question of the debugger
		want                fact.Loading
	}{
		"none":                     {"\x01\x00", "\x00\x01", nil, fact.LoadingSigned},
		"enabled":                  {"\x01\x00", "\x01\x01", nil, fact.LoadingSigned},
		"attached":                 {"\x01\x00", "\x01\x00", nil, ""},
		"attached, HVCI":           {"\x01\x04", "\x01\x00", nil, fact.LoadingSigned},
		"attached, no checks":      {"\x00\x00", "\x01\x00", nil, fact.LoadingAny},
		"half an answer":           {"\x01\x00", "\x00", nil, ""},
		"half an answer, HVCI":     {"\x01\x04", "\x00", nil, fact.LoadingSigned},
		"refused":                  {"\x01\x00", "", fs.ErrPermission, ""},
		"not recorded":             {"\x01\x00", "", fact.ErrUnrecorded, ""},
		"an older tape":            {"\x01\x00", "", fact.ErrOlder, ""},
		"refused, no checks":       {"\x00\x00", "", fs.ErrPermission, fact.LoadingAny},
		"Windows has no debuggers": {"\x01\x00", "", errors.ErrUnsupported, fact.LoadingSigned},
	} {
		m := refusing{OpKernelDebugger, tt.fails, policyFiles{calls: map[string]string{OpKernelDebugger: tt.debugger,
			OpCodeIntegrity: "\x08\x00\x00\x00" + tt.integrity + "\x00\x00"}}}
		p, err := Open(m, fact.Options{}).Policy(context.Background(), new(fact.Report))
		read := tt.fails == nil && len(tt.debugger) == 2
		if err != nil || p.Loading != tt.want || p.Err() == nil && tt.want == "" ||
			p.Err() != nil && tt.want != "" && read {
			t.Errorf("%s: %q, %v, %v", name, p.Loading, p.Err(), err)
		}
	}
}

// Every models section that [Manufacturer] leads to is read, of whatever decoration, and none besides.
func TestModelsSections(t *testing.T) {
	inf, err := parseINF([]byte("[Version]\r\nSignature=\"$WINDOWS NT$\"\r\n[Manufacturer]\r\n"+
		"%A%=Alpha, NTamd64, NTamd64.10.0...16299, ntARM64\r\n%B%=Beta,NTx86\r\nGamma\r\n"+
		"[alpha]\r\n%D%=Old,PCI\\OLD\r\n[ALPHA.ntamd64]\r\n%D%=In,PCI\\A&1,PCI\\A\r\n"+
		"[Alpha.NTamd64.10.0...16299]\r\n%D%=In,\"PCI\\B\"\r\n[Alpha.NTarm64]\r\n%D%=Arm,PCI\\C\r\n"+
		"[Alpha.NTia64]\r\n%D%=No,PCI\\NO\r\n[Beta.NTx86]\r\n%D%=B,PCI\\D\r\n[Gamma]\r\n%D%=G,PCI\\E\r\n"+
		"[Strings]\r\nA=Maker\r\nB=Maker\r\nD=Device\r\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	list, cut := inf.Models, inf.Cut
	var got []string
	for _, m := range list {
		got = append(got, strings.Join(append([]string{m.Decoration, m.Section, m.Description}, m.IDs...), " "))
	}
	want := `  Old Device PCI\OLD; ntamd64 In Device PCI\A&1 PCI\A; ntamd64.10.0...16299 In Device PCI\B;` +
		` ntarm64 Arm Device PCI\C; ntx86 B Device PCI\D;  G Device PCI\E`
	if text := strings.Join(got, "; "); cut || strings.TrimSpace(text) != strings.TrimSpace(want) {
		t.Errorf("%q\nwant %q", text, want)
	}
}
