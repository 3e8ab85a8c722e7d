// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A daemonSet is what packaging/kubernetes/daemonset.yaml has, by the names of Kubernetes' API: any other key is an
// error of reading it.
type daemonSet struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
	Spec       struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		UpdateStrategy struct {
			Type          string
			RollingUpdate struct {
				MaxUnavailable string `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		} `yaml:"updateStrategy"`
		Template struct {
			Metadata metadata
			Spec     podSpec
		}
	}
}

type metadata struct {
	Name, Namespace string
	Labels          map[string]string
}

type podSpec struct {
	Token           *bool             `yaml:"automountServiceAccountToken"`
	Links           *bool             `yaml:"enableServiceLinks"`
	Nodes           map[string]string `yaml:"nodeSelector"`
	Tolerations     []struct{ Operator string }
	Grace           int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
		RunAsUser    int  `yaml:"runAsUser"`
		RunAsGroup   int  `yaml:"runAsGroup"`
		Seccomp      struct {
			Type string
		} `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []struct {
		Name     string
		HostPath struct{ Path, Type string } `yaml:"hostPath"`
	}
}

type container struct {
	Name, Image   string
	Command, Args []string
	Env           []struct {
		Name      string
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		Escalation   *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities struct{ Add, Drop []string }
	} `yaml:"securityContext"`
	Mounts []struct {
		Name      string
		Path      string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
		Recursive string `yaml:"recursiveReadOnly"`
	} `yaml:"volumeMounts"`
}

// readDaemonSet returns the second document; the first is its namespace.
func readDaemonSet(t *testing.T) daemonSet {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "packaging", "kubernetes", "daemonset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var namespace struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
	}
	var set daemonSet
	if err := d.Decode(&namespace); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&set); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		t.Errorf("a third document: %v", err)
	}
	if namespace.Kind != "Namespace" || namespace.Metadata.Name != set.Metadata.Namespace {
		t.Errorf("namespace %+v, and the pods are in %q", namespace, set.Metadata.Namespace)
	}
	return set
}

// TestDaemonSet: the pod on every node has no privilege, writes nowhere, and runs a command that exists.
func TestDaemonSet(t *testing.T) {
	set := readDaemonSet(t)
	pod := set.Spec.Template.Spec
	if set.APIVersion != "apps/v1" || set.Kind != "DaemonSet" || len(pod.Containers) != 1 {
		t.Fatalf("%s %s with %d containers", set.APIVersion, set.Kind, len(pod.Containers))
	}
	c := pod.Containers[0]
	for what, ok := range map[string]bool{
		"a token":               pod.Token != nil && !*pod.Token,
		"root":                  pod.SecurityContext.RunAsNonRoot && pod.SecurityContext.RunAsUser > 0,
		"seccomp":               pod.SecurityContext.Seccomp.Type == "RuntimeDefault",
		"a writable root":       c.SecurityContext.ReadOnly,
		"escalation":            c.SecurityContext.Escalation != nil && !*c.SecurityContext.Escalation,
		"capabilities":          slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}),
		"added capabilities":    len(c.SecurityContext.Capabilities.Add) == 0,
		"no limit of memory":    c.Resources.Limits["memory"] != "",
		"labels that differ":    set.Spec.Selector.MatchLabels["app.kubernetes.io/name"] == set.Metadata.Name,
		"labels of other pods":  set.Spec.Template.Metadata.Labels["app.kubernetes.io/name"] == set.Metadata.Name,
		"another image's entry": slices.Equal(c.Command, []string{"/usr/bin/lkm"}),
	} {
		if !ok {
			t.Errorf("the pod has %s", what)
		}
	}
	checkMounts(t, pod)
	if err := exists(" " + strings.Join(c.Args, " ")); err != nil {
		t.Errorf("lkm %s: %v", strings.Join(c.Args, " "), err)
	}
	for _, want := range []string{"--root=/host", "--live", "--host=$(" + c.Env[0].Name + ")"} {
		if !slices.Contains(c.Args, want) {
			t.Errorf("lkm %s: no %s", strings.Join(c.Args, " "), want)
		}
	}
}

// checkMounts: each directory of the host is where it is on the host, below /host, and read-only all the way down.
func checkMounts(t *testing.T, pod podSpec) {
	t.Helper()
	paths := make(map[string]string)
	for _, v := range pod.Volumes {
		if v.HostPath.Type != "Directory" {
			t.Errorf("%s: type %q would make a directory on the host", v.Name, v.HostPath.Type)
		}
		paths[v.Name] = v.HostPath.Path
	}
	mounts := pod.Containers[0].Mounts
	for _, m := range mounts {
		if !m.ReadOnly || m.Recursive != "IfPossible" || m.Path != "/host"+paths[m.Name] {
			t.Errorf("%+v of %q", m, paths[m.Name])
		}
	}
	if len(mounts) != len(paths) || len(mounts) == 0 {
		t.Errorf("%d mounts of %d volumes", len(mounts), len(paths))
	}
}
