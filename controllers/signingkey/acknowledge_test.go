package signingkey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/signingkey"
)

const (
	within    = 5 * time.Minute // the default
	sidecar   = 15020
	issuerPod = 8081
)

// podIPs gives each pod of these tests an address of its own on the loopback interface.
var podIPs atomic.Int32

// pod is a pod of the cluster, and what answers on its admin port.
type pod struct {
	*corev1.Pod
	mu    sync.Mutex
	holds []string
	asked int
	once  func() // done when it is next asked
}

// meanwhile makes something happen while the pod is next asked.
func (p *pod) meanwhile(happen func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.once = happen
}

// reports makes the pod say that it holds some keys.
func (p *pod) reports(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = ids
}

// wasAsked returns how often the pod has been asked since it was last called.
func (p *pod) wasAsked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = 0
	return asked
}

func (p *pod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.URL.Path != "/applied" {
		http.NotFound(w, r)
		return
	}
	p.asked++
	if p.once != nil {
		p.once()
		p.once = nil
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keyIDs": p.holds})
}

// silent makes a ready pod that nobody answers for.
func (b *bench) silent(name, label, value string) *pod {
	b.Helper()
	role := map[string]string{v1alpha1.LabelPolicy: v1alpha1.LabelPodSidecar, v1alpha1.LabelTokenIssuer: v1alpha1.LabelPodIssuer}[label]
	p := &pod{Pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: name, Finalizers: []string{"example.com/hold"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false), NodeName: "node",
		},
	}}
	p.Labels = map[string]string{v1alpha1.LabelPod: role, label: value}
	b.must(b.client.Create(context.Background(), p.Pod))
	n := podIPs.Add(1)
	p.Status.Phase, p.Status.PodIP = corev1.PodRunning, fmt.Sprintf("127.80.%d.%d", n/250, 1+n%250)
	p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	b.ready(p, corev1.ConditionTrue)
	return p
}

func (b *bench) ready(p *pod, status corev1.ConditionStatus) {
	b.Helper()
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	b.must(b.client.Status().Update(context.Background(), p.Pod))
	b.wire.Writes()
}

// pod makes a ready pod that answers on a port.
func (b *bench) pod(name, label, value string, port int) *pod {
	b.Helper()
	p := b.silent(name, label, value)
	b.serve(p, port, p)
	return p
}

func (b *bench) serve(p *pod, port int, handler http.Handler) {
	b.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", p.Status.PodIP, port))
	b.must(err)
	server := httptest.NewUnstartedServer(handler)
	b.must(server.Listener.Close())
	server.Listener = listener
	server.Start()
	b.Cleanup(server.Close)
}

// policy makes an AuthPolicy with an issuer.
func (b *bench) policy(name string, keys v1alpha1.KeySource) {
	b.Helper()
	issuer := v1alpha1.PolicyIssuer{Audiences: []string{"app"}, Keys: keys}
	if keys.TokenIssuerRef == nil {
		issuer.URL = "https://idp.example"
	}
	b.must(b.client.Create(context.Background(), &v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: name},
		Spec:       v1alpha1.AuthPolicySpec{Ports: []int32{8080}, Default: v1alpha1.DefaultAuthenticated, Issuers: []v1alpha1.PolicyIssuer{issuer}},
	}))
	b.wire.Writes()
}

func (b *bench) tokenIssuer(name, signingKey string) {
	b.Helper()
	b.must(b.client.Create(context.Background(), &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			Issuer: "https://auth.example", SigningKeyRef: v1alpha1.ObjectRef{Name: signingKey},
			AccessToken: v1alpha1.AccessToken{Audiences: []string{"app"}}, Login: v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
		},
	}))
	b.wire.Writes()
}

func direct(name string) v1alpha1.KeySource {
	return v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: name}}
}

func through(name string) v1alpha1.KeySource {
	return v1alpha1.KeySource{TokenIssuerRef: &v1alpha1.ObjectRef{Name: name}}
}

// publish goes on until the next key is published, and returns it. After another publishLead it is due.
func (b *bench) publish() (next string) {
	b.Helper()
	b.reconcile()
	b.step(rotateEvery - publishLead)
	ring := b.ring().Rotation()
	if got, want := b.phases(), "Active Pending"; got != want {
		b.Fatalf("got %s, want %s", got, want)
	}
	b.told()
	b.wire.Writes()
	return ring[len(ring)-1].ID
}

// restart puts a new manager in the place of this one.
func (b *bench) restart() {
	b.reconciler = &signingkey.Reconciler{Client: b.client, Live: b.client, Clock: b.clock, Events: b.events}
}

// waiting is whom the status says that the next key waits for: "2: a, b", or "" for nobody.
func (b *bench) waiting() string {
	b.Helper()
	status := b.object().Status
	if status.WaitingForCount == 0 && len(status.WaitingFor) == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s", status.WaitingForCount, strings.Join(status.WaitingFor, ", "))
}

func (b *bench) expect(phases, waiting, condition string, events ...string) {
	b.Helper()
	if got := b.phases(); got != phases {
		b.Errorf("got %s, want %s", got, phases)
	}
	if got := b.waiting(); got != waiting {
		b.Errorf("got waiting for %q, want %q", got, waiting)
	}
	acknowledged := b.condition(v1alpha1.ConditionAcknowledged)
	if got := string(acknowledged.Status) + " " + acknowledged.Reason; got != condition {
		b.Errorf("got Acknowledged %s, want %s", got, condition)
	}
	if diff := cmp.Diff(b.told(), events); diff != "" {
		b.Errorf("events (-got +want):\n%s", diff)
	}
}

func (b *bench) writesNothing() {
	b.Helper()
	if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
		b.Errorf("writes (-got +want):\n%s", diff)
	}
}

func TestADueKeyWaitsForWhoeverDependsOnIt(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("direct", direct("k"))
	b.policy("through", through("t"))
	b.policy("other", direct("another"))
	b.policy("other-through", through("u"))
	b.tokenIssuer("t", "k")
	b.tokenIssuer("u", "another")
	pods := map[string]*pod{
		"a": b.pod("a", v1alpha1.LabelPolicy, "direct", sidecar),
		"b": b.pod("b", v1alpha1.LabelPolicy, "through", sidecar),
		"c": b.pod("c", v1alpha1.LabelTokenIssuer, "t", issuerPod),
	}
	unconcerned := []*pod{
		b.pod("x", v1alpha1.LabelPolicy, "other", sidecar), b.pod("y", v1alpha1.LabelPolicy, "other-through", sidecar),
		b.pod("z", v1alpha1.LabelTokenIssuer, "u", issuerPod), b.pod("w", v1alpha1.LabelPolicy, "gone", sidecar),
	}
	next := b.publish()
	first := b.active()
	pods["a"].reports(first)
	b.clock.SetTime(start.Add(rotateEvery))
	if got, want := b.reconcile().RequeueAfter, time.Second; got != want {
		t.Errorf("got the next look after %s, want %s", got, want)
	}
	b.expect("Active Pending", "3: a, b, c", "True NotAwaited", "KeyWaiting")

	pods["a"].reports(first, next)
	pods["c"].reports(next)
	b.step(time.Second)
	b.expect("Active Pending", "1: b", "True NotAwaited")

	b.wire.Writes()
	for _, p := range pods {
		p.wasAsked()
	}
	b.step(time.Second)
	b.step(time.Second)
	b.writesNothing()
	b.expect("Active Pending", "1: b", "True NotAwaited")
	if got, want := [3]int{pods["a"].wasAsked(), pods["b"].wasAsked(), pods["c"].wasAsked()}, [3]int{0, 2, 0}; got != want {
		t.Errorf("got a, b and c asked %v times, want %v: who has reported is not asked again", got, want)
	}

	pods["b"].reports(first, next)
	b.step(time.Second)
	b.expect("Retiring Active", "", "True Acknowledged", "KeyActivated")
	if got := b.active(); got != next {
		t.Errorf("got %s signing, want the key that was waited for", got)
	}
	b.inStep()
	for _, p := range unconcerned {
		if got := p.wasAsked(); got != 0 {
			t.Errorf("got %s asked %d times, want it left alone", p.Name, got)
		}
	}
}

func TestAKeyThatIsNotReportedGoesAheadAndSaysSo(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("app-%02d", i)
		b.silent(name, v1alpha1.LabelPolicy, "p")
		names = append(names, name)
	}
	next, named := b.publish(), strings.Join(names[:10], ", ")
	b.step(publishLead)
	b.expect("Active Pending", "12: "+named, "True NotAwaited", "KeyWaiting")
	b.clock.SetTime(b.clock.Now().Add(within - 500*time.Millisecond))
	if got, want := b.reconcile().RequeueAfter, 500*time.Millisecond; got != want {
		t.Errorf("got the next look after %s, want %s", got, want)
	}
	b.expect("Active Pending", "12: "+named, "True NotAwaited")

	b.step(500 * time.Millisecond)
	b.expect("Retiring Active", "", "False Unacknowledged", "KeyActivated", "KeyActivatedUnacknowledged")
	if got, want := b.condition(v1alpha1.ConditionAcknowledged).Message,
		"key "+next+" signs although 12 pods had not reported it within 5m0s: "+named+" and 2 more"; got != want {
		t.Errorf("got message %q, want %q", got, want)
	}

	// It is said as long as that key signs, also by another manager, and nothing is written.
	b.wire.Writes()
	b.restart()
	b.step(time.Hour)
	b.writesNothing()
	b.expect("Retiring Active", "", "False Unacknowledged")
}

func TestTheNextKeyThatEverybodyReportsIsAcknowledgedAgain(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{AcknowledgeWithin: &metav1.Duration{}})
	b.policy("p", direct("k"))
	p := b.pod("app", v1alpha1.LabelPolicy, "p", sidecar)
	b.publish()
	b.step(publishLead)
	b.expect("Retiring Active", "", "False Unacknowledged", "KeyActivated", "KeyActivatedUnacknowledged") // it does not wait, and says so
	b.step(rotateEvery - publishLead)
	ring := b.ring().Rotation()
	p.reports(ring[len(ring)-1].ID)
	b.told()
	b.step(publishLead)
	b.expect("Retiring Active", "", "True Acknowledged", "KeyActivated")
}

func TestAPodThatGetsNoRequestsHoldsNothingUp(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		ends func(*bench, *pod)
	}{
		{name: "being deleted", ends: func(b *bench, p *pod) { b.must(b.client.Delete(ctx, p.Pod)) }},
		{name: "gone", ends: func(b *bench, p *pod) {
			p.Finalizers = nil
			b.must(b.client.Update(ctx, p.Pod))
			b.must(b.client.Delete(ctx, p.Pod, client.GracePeriodSeconds(0)))
		}},
		{name: "not ready", ends: func(b *bench, p *pod) { b.ready(p, corev1.ConditionFalse) }},
		{name: "completed", ends: func(b *bench, p *pod) {
			p.Status.Phase = corev1.PodSucceeded
			b.must(b.client.Status().Update(ctx, p.Pod))
		}},
		{name: "of a policy that names the key no more", ends: func(b *bench, _ *pod) {
			b.must(b.client.Delete(ctx, &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: "p"}}))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{})
			b.policy("p", direct("k"))
			p := b.silent("app", v1alpha1.LabelPolicy, "p")
			b.publish()
			b.step(publishLead)
			b.expect("Active Pending", "1: app", "True NotAwaited", "KeyWaiting")
			test.ends(b, p)
			b.step(time.Second)
			b.expect("Retiring Active", "", "True Acknowledged", "KeyActivated")
		})
	}
}

func TestAManagerThatStartsAnewWaitsOnAndNoLonger(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	good := b.pod("good", v1alpha1.LabelPolicy, "p", sidecar)
	b.silent("silent", v1alpha1.LabelPolicy, "p")
	good.reports(b.publish())
	b.step(publishLead)
	b.expect("Active Pending", "1: silent", "True NotAwaited", "KeyWaiting")
	good.wasAsked()
	b.wire.Writes()
	b.restart()
	b.step(within - time.Second)
	b.writesNothing()
	b.expect("Active Pending", "1: silent", "True NotAwaited") // told once, not once by each manager
	if got, want := good.wasAsked(), 1; got != want {
		t.Errorf("got the good pod asked %d times by the new manager, want %d", got, want)
	}
	b.restart()
	b.step(time.Second)
	b.expect("Retiring Active", "", "False Unacknowledged", "KeyActivated", "KeyActivatedUnacknowledged")
}

func TestAManagerKilledAtActivationLosesNoVerdict(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	b.silent("silent", v1alpha1.LabelPolicy, "p")
	b.publish()
	b.step(publishLead)
	b.clock.SetTime(b.clock.Now().Add(within))
	b.told()
	b.wire.CutAfter(2) // the ring and the key set are written, the status is not
	if _, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key}); err == nil {
		t.Fatal("the wire was not cut")
	}
	b.wire.Mend()
	b.told()
	b.restart()
	b.reconcile()
	b.expect("Retiring Active", "", "False Unacknowledged")
	if got, want := b.condition(v1alpha1.ConditionAcknowledged).Message, "the event KeyActivatedUnacknowledged names them"; !strings.Contains(got, want) {
		t.Errorf("got message %q, want it to say %q", got, want)
	}
}

func TestAStatusThatIsWrittenByAnotherAtActivationLosesNoVerdict(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	p := b.pod("app", v1alpha1.LabelPolicy, "p", sidecar)
	next := b.publish()
	b.clock.SetTime(b.clock.Now().Add(publishLead))
	p.meanwhile(func() { // while the pod is asked, and before the status is written
		key := b.object()
		key.Labels = map[string]string{"team": "a"}
		b.must(b.client.Update(context.Background(), key))
	})
	p.reports(next)
	b.told()
	if result := b.reconcile(); result.RequeueAfter != time.Second {
		t.Fatalf("got the next look after %s, want one soon: the status conflicts", result.RequeueAfter)
	}
	b.told()
	b.reconcile()
	b.expect("Retiring Active", "", "True Acknowledged")
}

func TestAKeyWaitsForPodsOfOtherNamespacesThatMayUseItAndNamesNone(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{AllowedNamespaces: v1alpha1.AllowedNamespaces{
		From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"friend": "yes"}},
	}})
	friend, stranger := b.elsewhere(map[string]string{"friend": "yes"}), b.elsewhere(nil)
	shared := v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "k", Namespace: b.key.Namespace}}
	b.policy("p", direct("k"))
	friend.policy("q", shared)
	stranger.policy("q", shared)
	b.silent("own", v1alpha1.LabelPolicy, "p")
	far := friend.pod("far", v1alpha1.LabelPolicy, "q", sidecar)
	stranger.silent("strange", v1alpha1.LabelPolicy, "q")
	friend.silent("namesake", v1alpha1.LabelPolicy, "p")
	next := b.publish()
	b.step(publishLead)
	b.expect("Active Pending", "2: own", "True NotAwaited", "KeyWaiting")
	far.reports(next)
	b.step(time.Second)
	b.expect("Active Pending", "1: own", "True NotAwaited")
	b.step(within)
	b.expect("Retiring Active", "", "False Unacknowledged", "KeyActivated", "KeyActivatedUnacknowledged")
	if got := b.condition(v1alpha1.ConditionAcknowledged).Message; strings.Contains(got, "far") || strings.Contains(got, "strange") {
		t.Errorf("got message %q, want no pod of another namespace named", got)
	}
}

func TestNobodyIsAskedWhileNothingIsDue(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	p := b.pod("app", v1alpha1.LabelPolicy, "p", sidecar)
	next := b.publish()
	for range 9 {
		b.step(time.Hour)
	}
	b.writesNothing()
	if got := p.wasAsked(); got != 0 {
		t.Errorf("got the pod asked %d times before a key was due, want 0", got)
	}
	p.reports(next)
	b.step(time.Hour)
	if got, want := p.wasAsked(), 1; got != want {
		t.Errorf("got the pod asked %d times when the key was due, want %d", got, want)
	}
	b.expect("Retiring Active", "", "True Acknowledged", "KeyActivated")
	b.wire.Writes()
	b.step(time.Hour)
	b.writesNothing()
	if got := p.wasAsked(); got != 0 {
		t.Errorf("got the pod asked %d times after the key was activated, want 0", got)
	}
}

func TestAnEmergencyWaitsForNobody(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	p := b.pod("app", v1alpha1.LabelPolicy, "p", sidecar)
	next := b.publish()
	b.step(publishLead)
	b.expect("Active Pending", "1: app", "True NotAwaited", "KeyWaiting")
	p.wasAsked()
	revoked := b.active()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{revoked} })
	b.reconcile()
	b.expect("Active", "", "True NotAwaited", "KeyActivated", "KeyRevoked")
	if got := b.active(); got != next || p.wasAsked() != 0 {
		t.Errorf("got %s signing, want %s, and nobody asked", got, next)
	}
}

// Pods that accept a connection and say nothing, redirect, answer with an error or with nonsense are named like those that are not there,
// and hold the manager up for a moment only.
func TestPodsThatMisbehaveHaveNotReported(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	good := b.pod("good", v1alpha1.LabelPolicy, "p", sidecar)
	next := b.publish()
	good.reports(next)
	for name, handler := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+good.Status.PodIP+":15020/applied", http.StatusFound)
		},
		"fails": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"keyIDs":["`+next+`"]}`, http.StatusInternalServerError)
		},
		"babbles": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keyIDs":"` + next + `"}`)) },
		"floods": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"x":"` + strings.Repeat("x", 1<<20) + `","keyIDs":["` + next + `"]}`))
		},
	} {
		b.serve(b.silent(name, v1alpha1.LabelPolicy, "p"), sidecar, handler)
	}
	began := time.Now()
	b.step(publishLead)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("got a round of %s, want little more than the second that a pod has to answer", took)
	}
	b.expect("Active Pending", "5: babbles, fails, floods, hangs, redirects", "True NotAwaited", "KeyWaiting")
}

func TestARoundOfManyPodsIsBoundedInTimeAndInFlight(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	var asking, most atomic.Int32
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := asking.Add(1)
		defer asking.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-r.Context().Done()
	})
	const pods = 200
	for i := range pods {
		b.serve(b.silent(fmt.Sprintf("app-%03d", i), v1alpha1.LabelPolicy, "p"), sidecar, hang)
	}
	b.publish()
	began := time.Now()
	b.step(publishLead)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("got a round of %s for %d pods that do not answer, want about two seconds", took, pods)
	}
	if got := most.Load(); got > 80 || got < 2 { // connections that were given up are noticed a moment later
		t.Errorf("got %d pods asked at once, want some, and 64 at most", got)
	}
	if got, want := b.object().Status.WaitingForCount, int32(pods); got != want {
		t.Errorf("got waiting for %d pods, want %d", got, want)
	}
}

func TestMetricsTellOfTheRing(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.publish()
	want := map[string]float64{
		"keys Active": 1, "keys Pending": 1, "keys Retiring": 0,
		"active_since_timestamp_seconds": float64(start.Unix()), "next_rotation_timestamp_seconds": float64(start.Add(rotateEvery).Unix()),
	}
	if diff := cmp.Diff(b.gauges(), want); diff != "" {
		t.Errorf("gauges (-got +want):\n%s", diff)
	}
	before := acknowledgements(t)
	b.step(publishLead + 3*time.Second)
	if got, want := acknowledgements(t)-before, 3.0; got != want {
		t.Errorf("got %v more seconds in acknowledgement_seconds, want %v", got, want)
	}
	b.must(b.client.Delete(context.Background(), b.object()))
	b.reconcile()
	if diff := cmp.Diff(b.gauges(), map[string]float64{}); diff != "" {
		t.Errorf("gauges of a SigningKey that is gone (-got +want):\n%s", diff)
	}
}

// gauges are those of this SigningKey, readiness aside: "keys Active".
func (b *bench) gauges() map[string]float64 {
	b.Helper()
	families, err := metrics.Registry.Gather()
	b.must(err)
	values := map[string]float64{}
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "latchkey_signingkey_")
		if !ours || name == "ready" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["namespace"] == b.key.Namespace && labels["name"] == b.key.Name {
				values[strings.TrimSpace(name+" "+labels["phase"])] = metric.GetGauge().GetValue()
			}
		}
	}
	return values
}

// acknowledgements is the sum of all seconds that keys have waited.
func acknowledgements(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "latchkey_signingkey_acknowledgement_seconds" {
			return family.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	t.Fatal("no latchkey_signingkey_acknowledgement_seconds")
	return 0
}
