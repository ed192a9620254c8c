package chart_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The operator's release whose kinds are tried, and what its module must be.
const (
	prometheusOperator    = "github.com/prometheus-operator/prometheus-operator@v0.92.0"
	prometheusOperatorSum = "h1:tAbsod3+9sQsxDeAvLP27dAe9terToht5M+YdDwLGP0="
)

func TestPodMonitorsAreOfTheKindThatTheirOperatorReads(t *testing.T) {
	t.Parallel()
	c := start(t)
	text, err := os.ReadFile(filepath.Join(module(t, prometheusOperator, prometheusOperatorSum), "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"))
	must(t, err)
	kind := map[string]any{}
	addObjects(t, kind, text)
	for _, object := range kind {
		must(t, c.Create(t.Context(), &unstructured.Unstructured{Object: object.(map[string]any)}))
	}
	must(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}))

	rendered := map[string]any{}
	addObjects(t, rendered, template(t, "--set", "monitoring.podMonitors.enabled=true"))
	maps.DeleteFunc(rendered, func(name string, _ any) bool { return !strings.HasPrefix(name, "PodMonitor/") })
	want := []string{"PodMonitor/latchkey-issuers", "PodMonitor/latchkey-manager", "PodMonitor/latchkey-sidecars"}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(rendered)), want); diff != "" {
		t.Fatalf("what the chart has (-got +want):\n%s", diff)
	}
	strict := client.WithFieldValidation(c.Client, metav1.FieldValidationStrict)
	for name, object := range rendered {
		eventually(t, func(ctx context.Context) error { // a kind takes a moment to be served
			return strict.Create(ctx, &unstructured.Unstructured{Object: object.(map[string]any)})
		})
		t.Logf("%s is taken", name)
	}
}

// module returns where the sources of a module are, which it downloads. Nothing of it is compiled.
func module(t *testing.T, version, sum string) (dir string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", version)
	command.Dir = t.TempDir()
	printed, err := command.Output()
	var found struct{ Dir, Sum, Error string }
	if decoded := json.Unmarshal(printed, &found); err == nil {
		err = decoded
	}
	if err != nil || found.Sum != sum {
		t.Fatalf("%s: got sum %q, want %q: %v %s", version, found.Sum, sum, err, found.Error)
	}
	return found.Dir
}
