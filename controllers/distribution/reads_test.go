package distribution_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/controllers/distribution"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// wire is what requests go over.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(request *http.Request) (*http.Response, error) { return w(request) }

// like makes pods that are as the bench's is, and returns what asks to reconcile each of them.
func (b *bench) like(pods int) []reconcile.Request {
	b.Helper()
	var requests []reconcile.Request
	for i := range pods {
		pod := b.pod.DeepCopy()
		pod.ObjectMeta = metav1.ObjectMeta{Namespace: b.namespace, Name: fmt.Sprintf("pod-%d", i), Labels: b.pod.Labels}
		status := pod.Status
		b.must(b.client.Create(ctx, pod))
		pod.Status = status
		b.must(b.client.Status().Update(ctx, pod))
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
	}
	return requests
}

// together has the requests reconciled at the same time.
func (b *bench) together(r *distribution.Reconciler, requests []reconcile.Request) {
	b.Helper()
	var all sync.WaitGroup
	for _, request := range requests {
		all.Go(func() {
			if _, err := r.Reconcile(ctx, request); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
}

func TestASecretIsReadOnceForAllPodsThatAreWokenTogether(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	var reads atomic.Int32
	config := rest.CopyConfig(controllertest.Config())
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return wire(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/secrets/") && !strings.Contains(request.Header.Get("Accept"), "PartialObjectMetadata") {
				reads.Add(1) // of a Secret with what it holds
			}
			return next.RoundTrip(request)
		})
	})
	c, _ := controllertest.Client(t, config)
	r := &distribution.Reconciler{Client: c, Known: c, Clock: b.clock, Events: b.events}

	const pods = 20
	requests := b.like(pods)
	bundle := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "p-bundle"}, Data: map[string][]byte{"bundle.json": []byte("one")}}
	b.must(c.Create(ctx, bundle))
	for _, content := range []string{"one", "two"} {
		bundle.Data["bundle.json"] = []byte(content)
		b.must(c.Update(ctx, bundle))
		reads.Store(0)
		b.together(r, requests)
		if got := reads.Load(); got != 1 {
			t.Errorf("got the bundle with %q read %d times for %d pods, want once", content, got, pods)
		}
	}
}
