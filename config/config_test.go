// Package config_test applies what this directory holds to a real API server: as a user would, and as a user would not mean to.
package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

var (
	cluster *controlplane.Cluster
	api     client.Client
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if cluster, err = controlplane.Start(); err == nil {
		defer func() { _ = cluster.Stop() }()
		api, err = client.New(cluster.Config, client.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestEachDirectoryAppliesFileByFileInOrder(t *testing.T) {
	for _, dir := range []string{"crd", "rbac", "manager", "webhook", "samples"} {
		for _, file := range manifests(t, dir) {
			for _, object := range read(t, filepath.Join(dir, file)) {
				if dir == "samples" {
					object.SetNamespace("default")
				}
				if err := apply(t.Context(), object); err != nil {
					t.Errorf("%s/%s: %v", dir, file, err)
				}
			}
		}
	}
}

// With nothing but resources in them, and all of them, kustomizations say what the plain files say.
func TestKustomizationsListTheFilesAndDoNothingElse(t *testing.T) {
	for _, dir := range []string{"crd", "rbac", "manager", "webhook", "samples"} {
		if diff := cmp.Diff(kustomization(t, dir), manifests(t, dir)); diff != "" {
			t.Errorf("%s: what kustomization.yaml lists, the files there are: %s", dir, diff)
		}
	}
	if diff := cmp.Diff(kustomization(t, "default"), []string{"../crd", "../rbac", "../manager", "../webhook"}); diff != "" {
		t.Errorf("default: got, want: %s", diff)
	}
}

func manifests(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".yaml") && name != "kustomization.yaml" {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return files
}

func kustomization(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	if dir != "default" {
		slices.Sort(k.Resources)
	}
	return k.Resources
}

func read(t *testing.T, path string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return objects
}

func decode(data []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// apply is kubectl apply --server-side --validate=strict.
func apply(ctx context.Context, object *unstructured.Unstructured) error {
	return api.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership)
}
