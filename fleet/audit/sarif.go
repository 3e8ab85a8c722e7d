// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// The parts of SARIF 2.1.0 that are used, by the names of its specification.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string       `json:"id"`
		Text          sarifText    `json:"shortDescription"`
		Configuration sarifDefault `json:"defaultConfiguration"`
		Properties    sarifTags    `json:"properties"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifTags struct {
		Tags     []string `json:"tags"`
		Severity Severity `json:"severity"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitzero"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Suppressions []sarifSuppress   `json:"suppressions,omitzero"`
		Properties   sarifProperties   `json:"properties"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitzero"`
		Logical  []sarifLogical `json:"logicalLocations,omitzero"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitzero"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Full string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppress struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifProperties struct {
		Target    string `json:"target"`
		Subject   string `json:"subject,omitzero"`
		Status    Status `json:"status"`
		Effective string `json:"effective,omitzero"`
		Text      Status `json:"benchmarkText,omitzero"`
	}
)

// SARIF returns the report as a SARIF 2.1.0 log. A finding has kind fail, an unknown row kind open, what passes kind
// pass; what an exception excuses is a suppressed finding.
func (r *Report) SARIF() ([]byte, error) {
	index := make(map[string]int)
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{},
		Tool: sarifTool{sarifDriver{Name: "kernelext", Version: lkm.Version, Rules: []sarifRule{}}}}
	for i := range r.Rows {
		row := &r.Rows[i]
		at, ok := index[row.Rule]
		if !ok {
			at = len(run.Tool.Driver.Rules)
			index[row.Rule] = at
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(row))
		}
		run.Results = append(run.Results, sarifResultOf(row, at))
	}
	log := sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
	return json.MarshalIndent(log, "", "  ")
}

func sarifRuleOf(row *Row) sarifRule {
	title := row.Title
	if title == "" {
		title = string(row.Kind)
	}
	return sarifRule{row.Rule, sarifText{title}, sarifDefault{sarifLevel(row.Severity)},
		sarifTags{uniqueTexts(append([]string{"kernel-extension"}, row.References...)), row.Severity}}
}

// uniqueTexts drops repeated texts: SARIF's tags are a set.
func uniqueTexts(list []string) []string {
	seen := make(map[string]bool)
	var kept []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}

func sarifLevel(s Severity) string {
	switch s {
	case Low:
		return "note"
	case Medium:
		return "warning"
	}
	return "error"
}

func sarifResultOf(row *Row, index int) sarifResult {
	sum := sha256.Sum256([]byte(row.Target + "\x00" + row.Rule + "\x00" + row.Subject))
	result := sarifResult{RuleID: row.Rule, RuleIndex: index, Kind: "fail", Level: sarifLevel(row.Severity),
		Message: sarifText{row.message()}, Fingerprints: map[string]string{"subject/v1": hex.EncodeToString(sum[:16])},
		Properties: sarifProperties{row.Target, row.Subject, row.Status, row.Effective, row.Text}}
	switch row.Status {
	case Pass:
		result.Kind, result.Level = "pass", "none"
	case Unknown:
		result.Kind, result.Level = "open", "none"
	case Excepted:
		result.Suppressions = []sarifSuppress{{"external", "accepted", row.Exception.text()}}
	}
	var at sarifLocation
	if row.File != "" {
		uri := url.URL{Path: strings.TrimPrefix(row.File, "/")}
		at.Physical = &sarifPhysical{Artifact: sarifArtifact{uri.String()}}
		if row.Line > 0 {
			at.Physical.Region = &sarifRegion{row.Line}
		}
	}
	if row.Subject != "" {
		at.Logical = []sarifLogical{{row.Subject, row.Target + "/" + row.Subject, "module"}}
	}
	if at.Physical != nil || at.Logical != nil {
		result.Locations = []sarifLocation{at}
	}
	return result
}

// message says the row in one line.
func (row *Row) message() string {
	text := strings.TrimSpace(row.Target + ": " + row.Subject)
	if row.Effective != "" {
		text += " " + row.Effective
	}
	if row.Because != "" {
		text += ": " + row.Because
	}
	if row.Text != "" {
		text += "; the benchmark's own check: " + string(row.Text)
	}
	if row.TextBecause != "" {
		text += " (" + row.TextBecause + ")"
	}
	if row.Exception != nil && row.Expired {
		text += "; exception expired: " + row.Exception.text()
	}
	return text
}

// text says the exception in one line.
func (e *Exception) text() string { return e.Reason + " (" + e.Owner + ", until " + e.Expires + ")" }
