// Package controllertest gives the controllers' tests what they stand on: namespaces on a real API server, and clients whose requests
// can be counted and made to fail. It knows HTTP verbs, not what any controller does.
package controllertest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Scheme knows Kubernetes' kinds and ours.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// Namespace makes a namespace for one test and returns its name.
func Namespace(t testing.TB, c client.Client) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(context.Background(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// Client returns a client without a cache, and the wire that its requests go over.
func Client(t testing.TB, config *rest.Config) (client.WithWatch, *Wire) {
	t.Helper()
	wire := &Wire{}
	config = rest.CopyConfig(config)
	config.QPS = -1 // tests wait for nobody
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		wire.next = next
		return wire
	})
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c, wire
}

// ErrCut is what a client sees when the wire is cut.
var ErrCut = errors.New("the wire is cut")

// Wire carries a client's requests, notes the writes among them, and can be cut before one of them: as if the process had been killed there.
type Wire struct {
	next http.RoundTripper

	mu     sync.Mutex
	writes []string
	spare  int
	cut    bool
}

// RoundTrip implements http.RoundTripper.
func (w *Wire) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && !w.let(request) {
		return nil, ErrCut
	}
	return w.next.RoundTrip(request)
}

func (w *Wire) let(request *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		if w.spare == 0 {
			return false
		}
		w.spare--
	}
	w.writes = append(w.writes, request.Method+" "+request.URL.Path)
	return true
}

// CutAfter lets n more writes pass and fails those after them, until Mend.
func (w *Wire) CutAfter(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.spare = true, n
}

// Mend lets everything pass again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// Writes returns the writes that have passed since it was last asked, as "PUT /api/v1/...".
func (w *Wire) Writes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	writes := w.writes
	w.writes = nil
	return writes
}

// End deletes a namespace, and returns when the API server takes nothing new in it. What is there stays: no namespace controller runs here.
func End(t testing.TB, c client.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
	var last error
	for ctx.Err() == nil && !apierrors.HasStatusCause(last, corev1.NamespaceTerminatingCause) {
		last = c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "probe"}}, client.DryRunAll)
	}
	if ctx.Err() != nil {
		t.Fatalf("namespace %s still takes objects: %v", name, last)
	}
}
