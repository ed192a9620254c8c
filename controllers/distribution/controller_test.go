package distribution_test

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
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/distribution"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// podIPs gives each pod of these tests an address of its own on the loopback interface.
	podIPs atomic.Int32
)

// bench is one pod with a sidecar that says what it has read, under a reconciler whose clock is stepped by hand.
type bench struct {
	*testing.T
	client     client.WithWatch
	wire       *controllertest.Wire
	events     *events.FakeRecorder
	clock      *clocktesting.FakePassiveClock
	reconciler *distribution.Reconciler
	namespace  string
	pod        *corev1.Pod

	mu      sync.Mutex
	applied map[string]map[string]string
	asked   int
}

// bundleVolume shows a ConfigMap and a Secret of one name, both optional, as injected pods have it.
func bundleVolume() corev1.Volume {
	source := corev1.LocalObjectReference{Name: "p-bundle"}
	return corev1.Volume{Name: "latchkey-bundle", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: source, Optional: ptr.To(true)}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: source, Optional: ptr.To(true)}},
		},
	}}}
}

func newBench(t *testing.T, labels map[string]string, volumes ...corev1.Volume) *bench {
	c, wire := controllertest.Client(t, controllertest.Config())
	b := &bench{T: t, client: c, wire: wire, clock: clocktesting.NewFakePassiveClock(start), namespace: controllertest.Namespace(t, c)}
	b.events = events.NewFakeRecorder(100)
	b.reconciler = &distribution.Reconciler{Client: c, Known: c, Clock: b.clock, Events: b.events}
	b.pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "pod", Labels: labels},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}}, Volumes: volumes, AutomountServiceAccountToken: ptr.To(false),
		},
	}
	b.must(c.Create(ctx, b.pod))
	b.run(fmt.Sprintf("127.79.0.%d", podIPs.Add(1)), corev1.ConditionTrue)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// run sets the pod's status as a kubelet does.
func (b *bench) run(podIP string, ready corev1.ConditionStatus) {
	b.Helper()
	b.must(b.client.Get(ctx, client.ObjectKeyFromObject(b.pod), b.pod))
	b.pod.Status.Phase, b.pod.Status.PodIP, b.pod.Status.PodIPs = corev1.PodRunning, podIP, []corev1.PodIP{{IP: podIP}}
	b.pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	b.must(b.client.Status().Update(ctx, b.pod))
	b.wire.Writes()
}

// listen starts the admin port of the pod, until the test or end is over.
func (b *bench) listen(port int) (end func()) {
	b.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", b.pod.Status.PodIP, port))
	b.must(err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.URL.Path != "/applied" {
			http.NotFound(w, r)
			return
		}
		b.asked++
		_ = json.NewEncoder(w).Encode(map[string]any{"volumes": b.applied})
	}))
	b.must(server.Listener.Close())
	server.Listener = listener
	server.Start()
	b.Cleanup(server.Close)
	return server.Close
}

// says makes the pod report a hash of a volume, as "applied" or "rejected".
func (b *bench) says(volume, what string, files map[string][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.applied == nil {
		b.applied = map[string]map[string]string{}
	}
	b.applied[volume] = map[string]string{what: filetree.Hash(files)}
}

func (b *bench) reconcile() reconcile.Result {
	b.Helper()
	result, err := b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b.pod)})
	b.must(err)
	return result
}

// poke is the pod's annotation, its hash left out: "#2", or "" when it was never poked.
func (b *bench) poke() string {
	b.Helper()
	b.must(b.client.Get(ctx, client.ObjectKeyFromObject(b.pod), b.pod))
	_, attempt, found := strings.Cut(b.pod.Annotations[v1alpha1.AnnotationVolumes], " ")
	if !found {
		return ""
	}
	return "#" + attempt
}

func (b *bench) configMap(content string) map[string][]byte {
	b.Helper()
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "p-bundle"}, Data: map[string]string{"bundle.json": content}}
	err := b.client.Create(ctx, configMap)
	if err != nil {
		b.must(b.client.Update(ctx, configMap))
	}
	b.wire.Writes()
	return map[string][]byte{"bundle.json": []byte(content)}
}

var injected = map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelPolicy: "p"}

func TestAPodThatIsBehindIsPokedUntilItHasCaughtUp(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.says("latchkey-bundle", "applied", b.configMap("one"))
	if result := b.reconcile(); result.RequeueAfter != 0 || b.poke() != "" {
		t.Fatalf("got poke %q and a return after %s for a pod in step, want neither", b.poke(), result.RequeueAfter)
	}
	two := b.configMap("two")
	for _, step := range []struct {
		after time.Duration
		poke  string
		next  time.Duration
	}{
		{poke: "#1", next: time.Second},
		{after: 300 * time.Millisecond, poke: "#1", next: 700 * time.Millisecond}, // woken early, by our own patch
		{after: 700 * time.Millisecond, poke: "#2", next: 2 * time.Second},
		{after: 2 * time.Second, poke: "#3", next: 4 * time.Second},
		{after: 4 * time.Second, poke: "#4", next: 8 * time.Second},
	} {
		b.clock.SetTime(b.clock.Now().Add(step.after))
		result := b.reconcile()
		if got := b.poke(); got != step.poke || result.RequeueAfter != step.next {
			t.Errorf("after %s: got poke %s and the next look after %s, want %s and %s", step.after, got, result.RequeueAfter, step.poke, step.next)
		}
	}
	b.says("latchkey-bundle", "applied", two)
	b.wire.Writes()
	b.clock.SetTime(b.clock.Now().Add(time.Hour))
	if result := b.reconcile(); result.RequeueAfter != 0 {
		t.Errorf("got the next look after %s for a pod in step, want none", result.RequeueAfter)
	}
	if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
		t.Errorf("writes for a pod in step (-got +want):\n%s", diff)
	}
	b.configMap("three")
	b.reconcile()
	if got, want := b.poke(), "#1"; got != want {
		t.Errorf("got poke %s for the next change, want %s", got, want)
	}
}

func TestFilesThatKeepChangingArePokedForFourTimesASecondAtMost(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.says("latchkey-bundle", "applied", b.configMap("none"))
	pokes := 0
	for i := range 100 { // one change every 10 ms
		b.configMap(fmt.Sprint(i))
		result := b.reconcile()
		pokes += len(b.wire.Writes())
		if most := time.Second; result.RequeueAfter == 0 || result.RequeueAfter > most {
			t.Fatalf("got the next look after %s while the pod is behind, want it within %s", result.RequeueAfter, most)
		}
		b.clock.SetTime(b.clock.Now().Add(10 * time.Millisecond))
	}
	if got, want := pokes, 4; got != want {
		t.Errorf("got %d pokes for a hundred changes within a second, want %d", got, want)
	}
	last := func() string { b.poke(); return b.pod.Annotations[v1alpha1.AnnotationVolumes] }
	before := last()
	b.clock.SetTime(b.clock.Now().Add(250 * time.Millisecond))
	b.reconcile()
	if got := last(); got == before {
		t.Errorf("got no poke for the last change")
	}
}

func TestAPodIsNotAskedForWhatItWasNotYetToldOf(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.says("latchkey-bundle", "applied", b.configMap("none"))
	for _, step := range []struct {
		name, content string
		asked         int
	}{
		{"nobody knows yet what it has", "one", 1},
		{"it was told of what came before", "two", 1},
		{"it was told", "two", 2},
	} {
		b.configMap(step.content)
		b.clock.SetTime(b.clock.Now().Add(time.Second))
		b.reconcile()
		b.mu.Lock()
		if b.asked != step.asked {
			t.Errorf("%s: got a pod that was asked %d times, want %d", step.name, b.asked, step.asked)
		}
		b.mu.Unlock()
	}
}

func TestAPodThatNeverReportsIsPokedOnceAMinuteAtMost(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.configMap("one")
	var result reconcile.Result
	for range 20 {
		result = b.reconcile()
		b.clock.SetTime(b.clock.Now().Add(result.RequeueAfter))
	}
	if got, want := result.RequeueAfter, time.Minute; got != want {
		t.Errorf("got a pause of %s, want %s", got, want)
	}
}

func TestAReadyPodIsAskedAgainBeforeItCountsAsBehind(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	one := b.configMap("one")
	for _, silence := range []string{"the first", "one after it had answered"} {
		if result := b.reconcile(); b.poke() != "" || result.RequeueAfter != time.Second {
			t.Errorf("%s: got poke %q and the next look after %s, want none and another in a second", silence, b.poke(), result.RequeueAfter)
		}
		if silence == "the first" {
			b.says("latchkey-bundle", "applied", one)
			end := b.listen(15020)
			if result := b.reconcile(); b.poke() != "" || result.RequeueAfter != 0 {
				t.Errorf("it answers: got poke %q and the next look after %s, want neither", b.poke(), result.RequeueAfter)
			}
			end()
		}
	}
	b.reconcile()
	if got, want := b.poke(), "#1"; got != want {
		t.Errorf("silent twice: got poke %q, want %s", got, want)
	}
}

func TestWhatAPodRejectedHasArrived(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.says("latchkey-bundle", "rejected", b.configMap("broken"))
	b.reconcile()
	if got := b.poke(); got != "" {
		t.Errorf("got poke %s, want none", got)
	}
}

func TestAPodThatRejectsItsFilesHasAnEventForEachContentThatItRejects(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	rejects := func(files map[string][]byte, why string) {
		b.says("latchkey-bundle", "rejected", files)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.applied["latchkey-bundle"]["error"] = why
	}
	told := func() string {
		select {
		case event := <-b.events.Events:
			return event
		default:
			return ""
		}
	}
	bad := b.configMap("bad")
	rejects(map[string][]byte{"bundle.json": []byte("what nobody wrote")}, "a lie")
	b.reconcile()
	if got := told(); got != "" {
		t.Errorf("got event %q for what is not wanted, want none", got)
	}
	rejects(bad, "line 3:\n\x1b[31mwrong "+strings.Repeat("x", 2000))
	b.reconcile()
	if got, want := told(), "Warning FilesRejected latchkey-bundle: line 3:  [31mwrong xxx"; !strings.HasPrefix(got, want) || len(got) > 1100 {
		t.Errorf("got event %q of %d bytes, want it to begin with %q and to be bounded", got, len(got), want)
	}
	b.reconcile()
	if got := told(); got != "" {
		t.Errorf("got event %q for the same files, want none", got)
	}
	rejects(b.configMap("worse"), "line 4")
	for range 2 { // it is told first, and asked then
		b.clock.SetTime(b.clock.Now().Add(time.Second))
		b.reconcile()
	}
	if got, want := told(), "Warning FilesRejected latchkey-bundle: line 4"; got != want {
		t.Errorf("got event %q for other files, want %q", got, want)
	}
}

func TestAPodThatIsStartingIsNotPoked(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.run(b.pod.Status.PodIP, corev1.ConditionFalse)
	b.configMap("one")
	result := b.reconcile()
	if got := b.poke(); got != "" || result.RequeueAfter == 0 {
		t.Errorf("got poke %q and the next look after %s, want none and a look", got, result.RequeueAfter)
	}
	b.listen(15020) // it is up now, not ready, and has read what is no more
	b.says("latchkey-bundle", "applied", map[string][]byte{"bundle.json": []byte("zero")})
	b.reconcile()
	if got, want := b.poke(), "#1"; got != want {
		t.Errorf("got poke %q, want %s", got, want)
	}
}

func TestAManagerThatStartsAnewGoesOnCounting(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.configMap("one")
	b.reconcile()
	b.reconciler = &distribution.Reconciler{Client: b.client, Known: b.client, Clock: b.clock, Events: b.events}
	b.reconcile()
	if got, want := b.poke(), "#2"; got != want {
		t.Errorf("got poke %s, want %s", got, want)
	}
}

func TestANumberThatNoManagerReachedIsNotBelieved(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.configMap("one")
	b.reconcile()
	b.must(b.client.Get(ctx, client.ObjectKeyFromObject(b.pod), b.pod))
	hash, _, _ := strings.Cut(b.pod.Annotations[v1alpha1.AnnotationVolumes], " ")
	b.pod.Annotations[v1alpha1.AnnotationVolumes] = hash + " 9223372036854775807"
	b.must(b.client.Update(ctx, b.pod))

	b.reconciler = &distribution.Reconciler{Client: b.client, Known: b.client, Clock: b.clock, Events: b.events}
	for _, want := range []string{"#1", "#2"} {
		result := b.reconcile()
		if got := b.poke(); got != want || result.RequeueAfter <= 0 {
			t.Errorf("got poke %s and the next look after %s, want %s and a look", got, result.RequeueAfter, want)
		}
		b.clock.SetTime(b.clock.Now().Add(result.RequeueAfter))
	}
}

func TestPodsThatAreNotOursOrGoneAreLeftAlone(t *testing.T) {
	tests := []struct {
		name    string
		labels  map[string]string
		arrange func(*bench)
	}{
		{name: "no label of ours", labels: map[string]string{"app": "a"}},
		{name: "completed", labels: injected, arrange: func(b *bench) {
			b.pod.Status.Phase = corev1.PodSucceeded
			b.must(b.client.Status().Update(ctx, b.pod))
		}},
		{name: "being deleted", labels: injected, arrange: func(b *bench) {
			b.pod.Finalizers = []string{"example.com/hold"}
			b.must(b.client.Update(ctx, b.pod))
			b.must(b.client.Delete(ctx, b.pod))
		}},
		{name: "gone", labels: injected, arrange: func(b *bench) {
			b.must(b.client.Delete(ctx, b.pod, client.GracePeriodSeconds(0)))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.labels, bundleVolume())
			b.configMap("one")
			if test.arrange != nil {
				test.arrange(b)
			}
			b.wire.Writes()
			if result := b.reconcile(); result.RequeueAfter != 0 {
				t.Errorf("got the next look after %s, want none", result.RequeueAfter)
			}
			if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
				t.Errorf("writes (-got +want):\n%s", diff)
			}
		})
	}
}

func TestVolumesOfEveryKindAreFollowed(t *testing.T) {
	secretVolume := corev1.Volume{Name: "latchkey-ring", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "ring"}}}
	renamed := corev1.Volume{Name: "latchkey-config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "p-bundle"}, Items: []corev1.KeyToPath{{Key: "bundle.json", Path: "renamed.json"}},
	}}}
	missing := corev1.Volume{Name: "latchkey-users", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "gone"}}}
	theirs := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "ring"}}}
	tests := []struct {
		name    string
		volume  corev1.Volume
		wanted  map[string][]byte // what the pod has to say to be in step
		nothing bool              // in step whatever it says
	}{
		{name: "projected", volume: bundleVolume(), wanted: map[string][]byte{"bundle.json": []byte("one")}},
		{name: "a Secret", volume: secretVolume, wanted: map[string][]byte{"ring.json": []byte("keys")}},
		{name: "some keys under other names", volume: renamed, wanted: map[string][]byte{"renamed.json": []byte("one")}},
		{name: "one whose Secret is missing", volume: missing, nothing: true},
		{name: "one of the app's", volume: theirs, nothing: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodIssuer, v1alpha1.LabelTokenIssuer: "t"}, test.volume)
			b.listen(8081)
			b.must(b.client.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "ring"}, Data: map[string][]byte{"ring.json": []byte("keys")},
			}))
			b.configMap("one")
			b.says(test.volume.Name, "applied", map[string][]byte{"other": nil})
			b.reconcile()
			if got, want := b.poke() != "", !test.nothing; got != want {
				t.Errorf("behind: got poked %v, want %v", got, want)
			}
			b.says(test.volume.Name, "applied", test.wanted)
			b.clock.SetTime(start.Add(time.Hour))
			before := b.poke()
			b.reconcile()
			if got := b.poke(); got != before {
				t.Errorf("in step: got poke %s, want none after %s", got, before)
			}
		})
	}
}

func TestTrimKeepsWhatIsReadAndNothingElse(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u", ResourceVersion: "1"}
	whole, err := inject.Pod(&corev1.Pod{
		ObjectMeta: meta,
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}, Volumes: []corev1.Volume{{Name: "data"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", Message: "m",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady}, {Type: corev1.PodScheduled}},
		},
	}, inject.Sidecar{Image: "sidecar", Policy: "p"})
	if err != nil {
		t.Fatal(err)
	}
	whole.Annotations = map[string]string{v1alpha1.AnnotationVolumes: "x 1", "other": "y"}
	bare := &corev1.Pod{ObjectMeta: meta}

	kept := bare.DeepCopy()
	kept.Labels = map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelPolicy: "p"}
	kept.Annotations = map[string]string{v1alpha1.AnnotationVolumes: "x 1"}
	kept.Spec.Volumes = whole.Spec.Volumes[1:2] // neither the app's own, nor those that show nothing
	kept.Spec.InitContainers = inject.Trace(whole)
	kept.Spec.InitContainers[0].Image = "sidecar"
	kept.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady}}}

	served := whole.DeepCopy()
	served.Spec.InitContainers, served.Labels = nil, map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodIssuer, v1alpha1.LabelTokenIssuer: "t"}
	servedKept := kept.DeepCopy()
	servedKept.Labels, servedKept.Spec.InitContainers = served.Labels, nil

	forged := whole.DeepCopy()
	forged.Spec.InitContainers = []corev1.Container{{Name: v1alpha1.SidecarContainerName, Image: "sidecar"}}
	plain := whole.DeepCopy()
	plain.Labels = map[string]string{"app": "a"}

	for _, test := range []struct {
		name      string
		pod, want *corev1.Pod
	}{
		{name: "a pod with a sidecar", pod: whole, want: kept},
		{name: "a token service", pod: served, want: servedKept},
		{name: "a pod that only says that it has a sidecar", pod: forged, want: bare},
		{name: "a pod of others", pod: plain, want: bare},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := distribution.Trim(test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, any(test.want)); diff != "" {
				t.Errorf("what is left (-got +want):\n%s", diff)
			}
			again, err := distribution.Trim(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(again, got); diff != "" {
				t.Errorf("what is left the second time (-got +want):\n%s", diff)
			}
		})
	}
}

// replace puts another pod, which does not run yet, into the place of the bench's.
func (b *bench) replace() {
	b.must(b.client.Delete(ctx, b.pod, client.GracePeriodSeconds(0)))
	b.pod.ResourceVersion, b.pod.UID, b.pod.Annotations = "", "", nil
	b.must(b.client.Create(ctx, b.pod))
}

func TestAPodThatIsReplacedWhileItIsAskedIsNoFault(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.configMap("one")
	listener, err := net.Listen("tcp", b.pod.Status.PodIP+":15020")
	b.must(err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.replace()
		_, _ = w.Write([]byte("{}"))
	}))
	b.must(server.Listener.Close())
	server.Listener = listener
	server.Start()
	defer server.Close()
	b.reconcile() // fails the test on an error
	if got := b.poke(); got != "" {
		t.Errorf("got poke %s on a pod that was not asked, want none", got)
	}
}

// The pods of a StatefulSet keep their names.
func TestWhatIsKnownOfAPodIsNotBelievedOfTheNextOfItsName(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.listen(15020)
	b.configMap("one")
	for range 5 {
		b.clock.SetTime(b.clock.Now().Add(b.reconcile().RequeueAfter))
	}
	address := b.pod.Status.PodIP
	b.replace() // between two looks: the one before was held up
	b.run(address, corev1.ConditionTrue)
	b.clock.SetTime(b.clock.Now().Add(-time.Second))
	if result := b.reconcile(); b.poke() != "#1" || result.RequeueAfter != time.Second {
		t.Errorf("got poke %q and the next look after %s, want #1 and %s", b.poke(), result.RequeueAfter, time.Second)
	}
}

func TestTheNextLookAtAPodThatDoesNotAnswerComesAfterThatAtOthers(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.run(b.pod.Status.PodIP, corev1.ConditionFalse)
	b.configMap("one")
	if got := b.reconcile().Priority; got == nil || *got >= 0 {
		t.Errorf("silent: got priority %v, want one below that of others", got)
	}
	b.listen(15020)
	for _, step := range []string{"it answers", "it was poked, and is told of the next change unasked"} {
		b.run(b.pod.Status.PodIP, corev1.ConditionTrue)
		b.configMap(step)
		b.clock.SetTime(b.clock.Now().Add(time.Second))
		if got := b.reconcile().Priority; got == nil || *got != 0 {
			t.Errorf("%s: got priority %v, want that of others again", step, got)
		}
	}
}
