package distribution_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/distribution"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// gatekeeper is a webhook of somebody else's, which the API server asks about each update of pods of some namespaces.
type gatekeeper struct {
	*testing.T

	mu          sync.Mutex
	asked       *sync.Cond
	came        []time.Time   // since it was closed
	under, most int           // that were held at a time
	open        chan struct{} // nobody is held once this is closed
	refusal     *metav1.Status
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		g.Error(err)
		return
	}
	g.mu.Lock()
	g.came = append(g.came, time.Now())
	g.under++
	g.most = max(g.most, g.under)
	open := g.open
	g.asked.Broadcast()
	g.mu.Unlock()
	select {
	case <-open:
	case <-r.Context().Done(): // the API server waits for half a minute at most
	}
	g.mu.Lock()
	g.under--
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: g.refusal == nil, Result: g.refusal}
	g.mu.Unlock()
	_ = json.NewEncoder(w).Encode(review) // the API server may have gone
}

// guard has a gatekeeper asked about the benches' namespaces, until the test ends. It is open.
func guard(benches ...*bench) *gatekeeper {
	b := benches[len(benches)-1]
	b.Helper()
	var namespaces []string
	for _, bench := range benches {
		namespaces = append(namespaces, bench.namespace)
	}
	g := &gatekeeper{T: b.T, open: make(chan struct{})}
	g.asked = sync.NewCond(&g.mu)
	close(g.open)
	server := httptest.NewTLSServer(g)
	b.Cleanup(server.Close)
	hook := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "gatekeeper.example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: namespaces},
			}},
			TimeoutSeconds:          ptr.To[int32](30),
			FailurePolicy:           ptr.To(admissionregistrationv1.Fail),
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	b.must(b.client.Create(ctx, hook))
	b.Cleanup(func() { b.must(b.client.Delete(ctx, hook)) })
	probe := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/probe":"1"}}}`))
	for deadline := time.Now().Add(time.Minute); g.count() == 0; { // the API server takes a moment to know it
		if time.Now().After(deadline) {
			b.Fatal("the webhook was not asked within a minute")
		}
		b.must(b.client.Patch(ctx, b.pod.DeepCopy(), probe, client.DryRunAll))
	}
	return g
}

func (g *gatekeeper) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.came)
}

// close has it hold whatever it is asked, until the function that it returns is called.
func (g *gatekeeper) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.came, g.open = nil, make(chan struct{})
	open = sync.OnceFunc(func() { close(g.open) })
	g.Cleanup(open)
	return open
}

// await returns when it has been asked so often since it was closed.
func (g *gatekeeper) await(often int) {
	g.Helper()
	var late bool
	alarm := time.AfterFunc(time.Minute, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		late = true
		g.asked.Broadcast()
	})
	defer alarm.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.came) < often {
		if late {
			g.Fatalf("the webhook was asked %d times within a minute, want %d", len(g.came), often)
		}
		g.asked.Wait()
	}
}

// refuse has it refuse whatever it is asked from now on.
func (g *gatekeeper) refuse(code int32, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = &metav1.Status{Code: code, Message: why}
}

// lead runs the controller in a manager, until the test or stop ends it. Its requests go by way of the wires.
func lead(t *testing.T, wires ...func(next http.RoundTripper) http.RoundTripper) (stop func()) {
	t.Helper()
	fast := rest.CopyConfig(controllertest.Config())
	fast.QPS = -1
	for _, wire := range wires {
		fast.Wrap(wire)
	}
	mgr, err := ctrl.NewManager(fast, ctrl.Options{
		Scheme:     controllertest.Scheme(t),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // several managers, in this process
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &distribution.Reconciler{Client: mgr.GetClient(), Known: mgr.GetCache(), Clock: clock.RealClock{}, Events: mgr.GetEventRecorder("latchkey")}
	if err := r.Setup(mgr); err != nil {
		t.Fatal(err)
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- mgr.Start(running) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager stopped with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// crowd makes more pods like the bench's. Each says that it has what they show now.
func (b *bench) crowd(more int) {
	b.Helper()
	b.listen(15020)
	b.says("latchkey-bundle", "applied", b.configMap("one"))
	b.like(more)
}

// awaitPokes returns when each of the bench's pods has been poked.
func (b *bench) awaitPokes() {
	b.Helper()
	var pods corev1.PodList
	b.must(b.client.List(ctx, &pods, client.InNamespace(b.namespace)))
	for i := range pods.Items {
		controllertest.Await(b.T, b.client, &corev1.PodList{}, &pods.Items[i], func(pod *corev1.Pod) bool {
			return pod.Annotations[v1alpha1.AnnotationVolumes] != ""
		})
	}
}

func TestPokesThatAWebhookHoldsUpHoldUpNoOthers(t *testing.T) {
	for _, test := range []struct {
		name             string
		namespaces, pods int // more pods than the 64 workers
		most             int // pokes at a time
	}{
		{name: "in a namespace", namespaces: 1, pods: 70, most: 31},
		{name: "in many", namespaces: 4, pods: 20, most: 55},
	} {
		t.Run(test.name, func(t *testing.T) {
			var slow []*bench
			for range test.namespaces {
				b := newBench(t, injected, bundleVolume())
				b.crowd(test.pods - 1)
				slow = append(slow, b)
			}
			webhook := guard(slow...)
			quick := newBench(t, injected, bundleVolume())
			quick.crowd(0)
			lead(t)

			open := webhook.close()
			start := time.Now()
			for _, b := range slow {
				b.configMap("two")
			}
			webhook.await(20)
			quick.configMap("two")
			quick.awaitPokes()
			open()
			for _, b := range slow {
				b.awaitPokes()
			}

			webhook.mu.Lock()
			defer webhook.mu.Unlock()
			for i, came := range webhook.came[:20] {
				if got, least := came.Sub(start), time.Duration(i/8)*250*time.Millisecond; got < least {
					t.Errorf("poke %d came after %s, want eight for each quarter of a second in which none is answered", i+1, got)
				}
			}
			if got := webhook.most; got > test.most {
				t.Errorf("got %d pokes under way, want %d at most: others need workers", got, test.most)
			}
		})
	}
}

func TestAManagerThatTakesOverPokesThePodsThatWaited(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.crowd(70)
	webhook := guard(b)
	stop := lead(t)
	open := webhook.close()
	b.configMap("two")
	webhook.await(10)
	stop() // nothing that is held, or waits, keeps it
	lead(t)
	open()
	b.awaitPokes()
}

func TestPokesThatFailTogetherAreSentAgainTogether(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	const more, failures = 199, 4
	b.crowd(more)
	var left atomic.Int32
	left.Store((more + 1) * failures)
	lead(t, func(next http.RoundTripper) http.RoundTripper {
		return wire(func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodPatch {
				return next.RoundTrip(request)
			}
			if end, ok := request.Context().Deadline(); !ok || time.Until(end) > time.Minute {
				t.Error("got a poke that may wait for longer than a minute")
			}
			if left.Add(-1) >= 0 {
				return nil, controllertest.ErrCut
			}
			return next.RoundTrip(request)
		})
	})
	start := time.Now()
	b.configMap("two")
	b.awaitPokes()
	if got := time.Since(start); got > time.Minute {
		t.Errorf("got the last poke after %s: so many that failed wait for each other", got)
	}
}

func TestAPokeThatAWebhookRefusesIsAFault(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.crowd(0)
	b.configMap("two")
	webhook := guard(b)
	for _, code := range []int32{http.StatusForbidden, http.StatusUnprocessableEntity} {
		why := fmt.Sprintf("refused with %d", code)
		webhook.refuse(code, why)
		_, err := b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b.pod)})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got error %v, want the webhook's %q", err, why)
		}
	}
}

func TestThePauseAfterAPokeBeginsWhenItIsAnswered(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.crowd(0)
	config := rest.CopyConfig(controllertest.Config())
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return wire(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodPatch {
				b.clock.SetTime(b.clock.Now().Add(10 * time.Second))
			}
			return next.RoundTrip(request)
		})
	})
	c, _ := controllertest.Client(t, config)
	b.reconciler = &distribution.Reconciler{Client: c, Known: c, Clock: b.clock, Events: b.events}
	b.configMap("two")
	b.reconcile()
	b.configMap("three")
	if got, want := b.reconcile().RequeueAfter, 250*time.Millisecond; got != want {
		t.Errorf("got the next look after %s, want %s", got, want)
	}
}
