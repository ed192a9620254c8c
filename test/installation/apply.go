package installation

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// Install applies what config/ holds: CRDs, RBAC, manager and webhook.
func Install(ctx context.Context, kube client.Client) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, part := range []string{"crd", "rbac", "manager", "webhook"} {
		objects, err := Apply(ctx, kube, filepath.Join("config", part))
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// Apply applies every YAML file of a directory of the repository in the order of their names, as kubectl does; kustomize's own files are for
// kustomize.
func Apply(ctx context.Context, kube client.Client, dir string) ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(os.DirFS(controlplane.Root()), filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(controlplane.Root(), file))
		if err != nil {
			return nil, err
		}
		objects, err := ApplyText(ctx, kube, string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// ApplyText applies the objects of a YAML text, which lines of --- divide.
func ApplyText(ctx context.Context, kube client.Client, text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) == 0 { // a document of comments alone is none
			continue
		}
		if err := rememberApplied(object); err != nil {
			return nil, err
		}
		if err := kube.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("demo"), client.ForceOwnership); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// rememberApplied notes in an object what is applied, as kubectl does: without that, kubectl warns whoever applies the same file again.
func rememberApplied(object *unstructured.Unstructured) error {
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(text)
	object.SetAnnotations(annotations)
	return nil
}
