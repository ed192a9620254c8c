package installation

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestWhatIsAppliedIsRememberedAsKubectlDoes(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "users", "annotations": map[string]any{"a": "b"}},
	}}
	want := object.DeepCopy().Object
	if err := rememberApplied(object); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(object.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("what is remembered (-got +want):\n%s", diff)
	}
	if got, want := object.GetAnnotations()["a"], "b"; got != want {
		t.Errorf("the object's own annotation is %q, want %q", got, want)
	}
}
