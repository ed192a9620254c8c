// Package chart holds the chart to config/, to its own promises about values, and to what Helm makes of it on a real API server.
package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	addObjects(t, got, template(t, "--no-hooks")) // without the Pod of helm test
	for _, object := range got {
		// Helm must not remove all objects of our kinds when it is uninstalled; for kubectl that is whoever calls it.
		if object := (&unstructured.Unstructured{Object: object.(map[string]any)}); object.GetKind() == "CustomResourceDefinition" {
			if got, want := object.GetAnnotations()["helm.sh/resource-policy"], "keep"; got != want {
				t.Errorf("%s: resource-policy is %q, want %q", object.GetName(), got, want)
			}
			unstructured.RemoveNestedField(object.Object, "metadata", "annotations", "helm.sh/resource-policy")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the chart and config/ differ (- config, + chart):\n%s", diff)
	}
}

// template is what helm template prints.
func template(t *testing.T, args ...string) []byte {
	t.Helper()
	printed, err := helm(t, append([]string{"template", "latchkey", chart, "--namespace", system}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}

const (
	chart  = "charts/latchkey"
	system = "latchkey-system"
)

// helm runs helm in the root of the repository, and returns what it printed. An error has what it complained of.
func helm(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=tools/go.mod", "helm"}, args...)...)
	command.Dir = controlplane.Root()
	home := t.TempDir() // nothing of whoever runs this counts
	command.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
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
