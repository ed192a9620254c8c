package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/installation"
	"github.com/latchkey-dev/latchkey/test/npm"
)

var update = flag.Bool("update", false, "copy the package as it is published to examples/quickstart")

// servesAsPublished compares what the quickstart's app serves with the package that was built.
func servesAsPublished(t *testing.T, project *npm.Project) {
	t.Helper()
	served := filepath.Join(controlplane.Root(), "examples", "quickstart", "app", "page", "latchkey")
	published, err := filepath.Glob(filepath.Join(project.Dir, "dist", "*.js"))
	check(t, err)
	if *update {
		check(t, errors.Join(os.RemoveAll(served), os.Mkdir(served, 0o755)))
	}
	for _, file := range published {
		want, err := os.ReadFile(file)
		check(t, err)
		copied := filepath.Join(served, filepath.Base(file))
		if *update {
			check(t, os.WriteFile(copied, want, 0o644))
		}
		if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is published: run go test ./test/web -run TestTheBrowsersHalf/quickstart -update", copied)
		}
	}
	if there, _ := filepath.Glob(filepath.Join(served, "*")); len(there) != len(published) || len(published) == 0 {
		t.Errorf("%s has %d files, want the %d that are published", served, len(there), len(published))
	}
}

// quickstart is the example as people apply it, with tokens and keys that change while one looks.
type quickstart struct {
	testing.TB
	*installation.Installation
}

var quickstartKey = client.ObjectKey{Namespace: "quickstart", Name: "quickstart"}

func startQuickstart(t testing.TB) *quickstart {
	t.Helper()
	i, err := installation.Start(t.Context(), t.TempDir())
	check(t, err)
	t.Cleanup(func() { check(t, i.Stop()) })
	q := &quickstart{t, i}
	_, err = installation.Apply(t.Context(), i.Kube, filepath.Join("examples", "quickstart"))
	check(t, err)
	q.patch(&v1alpha1.TokenIssuer{}, `{"spec":{"accessToken":{"ttl":"15s"}}}`)
	q.patch(&v1alpha1.SigningKey{}, `{"spec":{"rotateEvery":"20s","publishLead":"8s","retain":"75s"}}`)
	q.await(func() (bool, string) { return installation.Ready(t.Context(), i.Kube, "AuthPolicy", quickstartKey) })
	q.await(func() (bool, string) { return installation.Ready(t.Context(), i.Kube, "TokenIssuer", quickstartKey) })
	q.await(func() (bool, string) { return installation.DeploymentReady(t.Context(), i.Kube, quickstartKey) })
	return q
}

func (q *quickstart) patch(object client.Object, patch string) {
	q.Helper()
	object.SetNamespace(quickstartKey.Namespace)
	object.SetName(quickstartKey.Name)
	check(q, q.Kube.Patch(q.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func (q *quickstart) await(ask func() (bool, string)) {
	q.Helper()
	_, err := installation.Await(q.Context(), 2*time.Minute, ask)
	check(q, err)
}

// app is the URL of the app's Service.
func (q *quickstart) app() string {
	q.Helper()
	var service corev1.Service
	check(q, q.Kube.Get(q.Context(), quickstartKey, &service))
	return fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port)
}

// forBrowser is what the tests in the browser have to know, in JSON.
func (q *quickstart) forBrowser(chromium, control string) string {
	q.Helper()
	data, err := json.Marshal(map[string]string{
		"chromium": chromium, "pictures": outputDir(q), "control": control,
		"app": q.app(), "hosts": "MAP * ~NOTFOUND, EXCLUDE 127.*",
	})
	check(q, err)
	return string(data)
}

// control lets the tests in the browser compare what a page shows with what Kubernetes says.
func (q *quickstart) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		var key v1alpha1.SigningKey
		if err := q.Kube.Get(r.Context(), quickstartKey, &key); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(key.Status.Keys)
	})
	return mux
}
