// Package chart holds the chart to config/: without values, both install the same objects.
package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

func TestTheChartWithoutValuesInstallsWhatConfigInstalls(t *testing.T) {
	want := map[string]any{}
	for _, directory := range []string{"crd", "rbac", "manager", "webhook"} {
		files, err := filepath.Glob(filepath.Join(controlplane.Root(), "config", directory, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("config/%s: %d files, %v", directory, len(files), err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(file) != "kustomization.yaml" {
				addObjects(t, want, content)
			}
		}
	}
	// Helm makes the release's namespace itself (--create-namespace), and never counts it among the chart's objects.
	delete(want, "Namespace/latchkey-system")

	got := map[string]any{}
	addObjects(t, got, render(t))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the chart and config/ differ (- config, + chart):\n%s", diff)
	}
}

func TestTheChartSaysWhichValueIsWrong(t *testing.T) {
	for _, tc := range []struct{ name, set, want string }{
		{"an unknown value", "manager.replica=3", "replica"},
		{"no replicas", "manager.replicas=0", "replicas"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			output, err := helm("--set", tc.set)
			if err == nil || !bytes.Contains(output, []byte(tc.want)) {
				t.Errorf("helm template --set %s: got %v and %q, want an error that names %q", tc.set, err, output, tc.want)
			}
		})
	}
}

func render(t *testing.T) []byte {
	t.Helper()
	output, err := helm()
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, output)
	}
	return output
}

func helm(args ...string) ([]byte, error) {
	root := controlplane.Root()
	command := exec.Command("go", append([]string{"tool", "-modfile=tools/go.mod", "helm", "template", "latchkey",
		filepath.Join(root, "charts", "latchkey"), "--namespace", "latchkey-system", "--include-crds"}, args...)...)
	command.Dir = root
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stderr.Bytes(), err
	}
	return stdout.Bytes(), nil
}

// addObjects files each object of a YAML stream under its kind and name.
func addObjects(t *testing.T, objects map[string]any, stream []byte) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s", object.GetKind(), object.GetName())
		if _, twice := objects[key]; twice {
			t.Fatalf("%s is there twice", key)
		}
		objects[key] = object.Object
	}
}
