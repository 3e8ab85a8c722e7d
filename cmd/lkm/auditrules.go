// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// readRuleFile reads rules as JSON or YAML. What begins with a brace is JSON.
func readRuleFile(name string, data []byte) (*audit.Rules, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		return audit.Read(name, data)
	}
	text, err := jsonOfYAML(data)
	if err != nil {
		return nil, fmt.Errorf("audit: %s: %w: %w", name, lkm.ErrMalformed, err)
	}
	return audit.Read(name, text)
}

// maxYAMLDepth is how deep values may be nested.
const maxYAMLDepth = 8

// jsonOfYAML returns one YAML document as JSON. A scalar that is not a number, bool or null is the text as it is
// written, a date too. Anchors, aliases and tags of its own are refused: rules need none, and they make small files
// large.
func jsonOfYAML(data []byte) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("empty")
		}
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("no document")
	}
	return appendYAML(nil, doc.Content[0], 0)
}

// appendYAML appends a value as JSON.
func appendYAML(out []byte, n *yaml.Node, depth int) ([]byte, error) {
	at := func(text string) error { return fmt.Errorf("line %d: %s", n.Line, text) }
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return nil, at("anchors and aliases are not read")
	}
	if depth > maxYAMLDepth {
		return nil, at("nested deeper than " + strconv.Itoa(maxYAMLDepth))
	}
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		out = append(out, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out = append(out, ',')
			}
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				return nil, at("a key that is not text")
			}
			out = append(appendText(out, key.Value), ':')
			if out, err = appendYAML(out, n.Content[i+1], depth+1); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	case yaml.SequenceNode:
		out = append(out, '[')
		for i, c := range n.Content {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendYAML(out, c, depth+1); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	return appendScalar(out, n, at)
}

func appendScalar(out []byte, n *yaml.Node, at func(string) error) ([]byte, error) {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return appendText(out, n.Value), nil
	case "!!int":
		if v, err := strconv.Atoi(n.Value); err == nil {
			return strconv.AppendInt(out, int64(v), 10), nil
		}
	case "!!null":
		return append(out, "null"...), nil
	case "!!bool":
		var v bool
		if err := n.Decode(&v); err == nil {
			return strconv.AppendBool(out, v), nil
		}
	case "!!float":
		return nil, at(fmt.Sprintf("%.40s is a number: put it in quotes to make it a text", n.Value))
	}
	return nil, at(fmt.Sprintf("%.40q has the tag %.40s, which is not read", n.Value, n.Tag))
}

// appendText appends a text as JSON.
func appendText(out []byte, text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		return append(out, `""`...) // no text fails
	}
	return append(out, b...)
}

// writeFirst prints a first rule file.
func (a *app) writeFirst(ctx context.Context, targets []audit.Target) error {
	if len(targets) != 1 {
		return fmt.Errorf("--init makes rules from one machine, not from %d: name its kernel with --kernel",
			len(targets))
	}
	if targets[0].Err != nil { // stderr says why
		return exit(exitFatal)
	}
	if targets[0].System == nil {
		return errors.New("--init needs a machine, an image or a tape: a snapshot has no files")
	}
	rules, left, err := audit.First(ctx, targets[0], time.Now())
	if err != nil {
		return err
	}
	for _, text := range left {
		fmt.Fprintln(a.stderr, "lkm: not in these rules:", escape.Text(text))
	}
	return writeJSON(a.stdout, rules, "  ")
}
