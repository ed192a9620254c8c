package signingkey_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/signingkey"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	rotateEvery = 100 * time.Hour
	publishLead = 10 * time.Hour
	retain      = 30 * time.Hour
)

// bench is one SigningKey under a reconciler whose clock is stepped by hand.
type bench struct {
	*testing.T
	client     client.Client
	wire       *controllertest.Wire
	clock      *clocktesting.FakePassiveClock
	events     *events.FakeRecorder
	reconciler *signingkey.Reconciler
	key        client.ObjectKey
}

func newBench(t *testing.T, spec v1alpha1.SigningKeySpec) *bench {
	c, wire := controllertest.Client(t, controllertest.Config())
	b := &bench{T: t, client: c, wire: wire, clock: clocktesting.NewFakePassiveClock(start), events: events.NewFakeRecorder(100)}
	b.reconciler = &signingkey.Reconciler{Client: c, Live: c, Clock: b.clock, Events: b.events}
	b.key = client.ObjectKey{Namespace: controllertest.Namespace(t, c), Name: "k"}
	if spec.RotateEvery.Duration == 0 {
		spec.RotateEvery.Duration, spec.PublishLead.Duration, spec.Retain.Duration = rotateEvery, publishLead, retain
	}
	b.must(c.Create(context.Background(), &v1alpha1.SigningKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name}, Spec: spec,
	}))
	b.wire.Writes()
	return b
}

// elsewhere is the bench in another namespace with labels, for those who refer to the key from there.
func (b *bench) elsewhere(labels map[string]string) *bench {
	b.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	b.must(b.client.Create(context.Background(), namespace))
	other := *b
	other.key = client.ObjectKey{Namespace: namespace.Name}
	return &other
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) reconcile() reconcile.Result {
	b.Helper()
	result, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key})
	b.must(err)
	return result
}

func (b *bench) step(d time.Duration) {
	b.Helper()
	b.clock.SetTime(b.clock.Now().Add(d))
	b.reconcile()
}

func (b *bench) object() *v1alpha1.SigningKey {
	b.Helper()
	key := &v1alpha1.SigningKey{}
	b.must(b.client.Get(context.Background(), b.key, key))
	return key
}

// edit changes the spec as a user does.
func (b *bench) edit(change func(*v1alpha1.SigningKeySpec)) {
	b.Helper()
	key := b.object()
	change(&key.Spec)
	b.must(b.client.Update(context.Background(), key))
	b.wire.Writes()
}

func (b *bench) secret(suffix string) *corev1.Secret {
	b.Helper()
	secret := &corev1.Secret{}
	b.must(b.client.Get(context.Background(), client.ObjectKey{Namespace: b.key.Namespace, Name: b.key.Name + suffix}, secret))
	return secret
}

func (b *bench) configMap() *corev1.ConfigMap {
	b.Helper()
	configMap := &corev1.ConfigMap{}
	b.must(b.client.Get(context.Background(), client.ObjectKey{Namespace: b.key.Namespace, Name: b.key.Name + "-jwks"}, configMap))
	return configMap
}

func (b *bench) ring() *signing.Ring {
	b.Helper()
	ring, err := signing.ParseRing(b.secret("-signing").Data["ring.json"])
	b.must(err)
	return ring
}

// phases are the keys of the stored ring, oldest first: "Retiring Active".
func (b *bench) phases() string {
	b.Helper()
	var phases []string
	for _, k := range b.ring().Rotation() {
		phases = append(phases, string(k.Phase))
	}
	return strings.Join(phases, " ")
}

func (b *bench) active() string {
	b.Helper()
	key, ok := b.ring().Active()
	if !ok {
		b.Fatal("no key is Active")
	}
	return key.ID()
}

func (b *bench) published() *keyset.Set {
	b.Helper()
	set, err := keyset.Parse([]byte(b.configMap().Data["jwks.json"]))
	b.must(err)
	return set
}

// inStep checks that the published set is the public half of the stored ring.
func (b *bench) inStep() {
	b.Helper()
	want, err := b.ring().Public(b.clock.Now(), b.object().Spec.Retain.Duration)
	b.must(err)
	if got := b.published().Fingerprint(); got != want.Fingerprint() {
		b.Error("got a published set that is not the stored ring's, want the same")
	}
}

func (b *bench) condition(conditionType string) *metav1.Condition {
	b.Helper()
	condition := meta.FindStatusCondition(b.object().Status.Conditions, conditionType)
	if condition == nil {
		b.Fatalf("no condition %s", conditionType)
	}
	return condition
}

func (b *bench) told() []string {
	var told []string
	for {
		select {
		case event := <-b.events.Events:
			told = append(told, strings.Fields(event)[1])
		default:
			return told
		}
	}
}

func TestAKeyLivesThroughItsPhases(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	result := b.reconcile()
	if got, want := result.RequeueAfter, rotateEvery-publishLead; got > want || got <= 0 {
		t.Errorf("got the next check after %s, want it within %s", got, want)
	}
	first := b.active()
	steps := []struct {
		name   string
		after  time.Duration
		phases string
		events []string
	}{
		{name: "signs alone at first", after: time.Hour, phases: "Active", events: []string{"KeyActivated"}},
		{name: "has a successor published ahead of its turn", after: 89 * time.Hour, phases: "Active Pending", events: []string{"KeyPublished"}},
		{name: "still signs until the lead is over", after: publishLead - time.Second, phases: "Active Pending"},
		{name: "stops signing and still verifies", after: time.Second, phases: "Retiring Active", events: []string{"KeyActivated"}},
		{name: "verifies until retain is over", after: retain - time.Second, phases: "Retiring Active"},
		{name: "leaves the ring", after: time.Second, phases: "Active", events: []string{"KeyRemoved"}},
	}
	for _, step := range steps {
		b.step(step.after)
		if got := b.phases(); got != step.phases {
			t.Errorf("%s: got %s, want %s", step.name, got, step.phases)
		}
		if diff := cmp.Diff(b.told(), step.events); diff != "" {
			t.Errorf("%s: events (-got +want):\n%s", step.name, diff)
		}
		b.inStep()
	}
	if _, still := b.published().Lookup(first); still {
		t.Error("got the first key published at the end, want it gone")
	}
	status := b.object().Status
	if got, want := status.ActiveKeyID, b.active(); got != want {
		t.Errorf("got status.activeKeyID %q, want %q", got, want)
	}
	if got, want := status.NextRotation.Time, start.Add(2*rotateEvery); !got.Equal(want) {
		t.Errorf("got status.nextRotation %s, want %s", got, want)
	}
	if got, want := b.condition("Ready").Reason, "Ready"; got != want {
		t.Errorf("got Ready for reason %s, want %s", got, want)
	}
}

func TestARetiringKeyIsPublishedWithItsEnd(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	first := b.active()
	b.step(rotateEvery - publishLead)
	b.step(publishLead)
	key, ok := b.published().Lookup(first)
	if !ok {
		t.Fatal("the retiring key is not published")
	}
	if got, want := key.NotAfter(), start.Add(rotateEvery+retain); !got.Equal(want) {
		t.Errorf("got an end at %s, want %s", got, want)
	}
	status := b.object().Status.Keys[0]
	if status.Until == nil || !status.Until.Time.Equal(start.Add(rotateEvery+retain)) {
		t.Errorf("got status.keys[0].until %v, want the same end", status.Until)
	}
}

func TestAnIdleKeyCausesNoWrites(t *testing.T) {
	for _, algorithm := range []v1alpha1.SigningAlgorithm{"ES256", "RS256", "EdDSA", "HS256"} {
		t.Run(string(algorithm), func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{Algorithm: algorithm})
			b.reconcile()
			if len(b.wire.Writes()) == 0 {
				t.Fatal("the first reconcile wrote nothing")
			}
			for range 3 {
				b.step(time.Hour)
			}
			if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
				t.Errorf("writes (-got +want):\n%s", diff)
			}
		})
	}
}

func TestARevokedKeyIsGoneAtOnce(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	revoked := b.active()
	b.told()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{revoked} })
	b.reconcile()
	if got := b.active(); got == revoked {
		t.Error("got the revoked key signing, want another")
	}
	if _, still := b.published().Lookup(revoked); still {
		t.Error("got the revoked key published, want it gone")
	}
	if diff := cmp.Diff(b.told(), []string{"KeyActivated", "KeyRevoked"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	b.inStep()
}

func TestSymmetricKeysArePublishedInASecretOnly(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.Algorithm = "HS256" })
	b.reconcile()
	set, err := keyset.ParseSymmetric(b.secret("-jwks").Data["jwks.json"])
	b.must(err)
	if got, want := set.Len(), 2; got != want {
		t.Errorf("got %d keys in the Secret, want %d: the old one and the new", got, want)
	}
	err = b.client.Get(context.Background(), client.ObjectKeyFromObject(b.secret("-jwks")), &corev1.ConfigMap{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("got %v for the ConfigMap, want it removed", err)
	}

	b.step(publishLead)
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.Algorithm = "EdDSA" })
	b.step(time.Hour)
	b.step(publishLead)
	b.step(retain)
	b.inStep() // in the ConfigMap again, once the last symmetric key has left
	err = b.client.Get(context.Background(), client.ObjectKeyFromObject(b.configMap()), &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("got %v for the Secret, want it removed", err)
	}
}

func TestWhatCannotBeReadIsNeverOverwritten(t *testing.T) {
	tests := []struct {
		name string
		harm func(*corev1.Secret)
	}{
		{name: "ring removed", harm: func(s *corev1.Secret) { delete(s.Data, "ring.json") }},
		{name: "ring cut short", harm: func(s *corev1.Secret) { s.Data["ring.json"] = s.Data["ring.json"][:50] }},
		{name: "everything removed", harm: func(s *corev1.Secret) { s.Data = nil }},
		{name: "a later version", harm: func(s *corev1.Secret) {
			s.Data["ring.json"] = []byte(strings.Replace(string(s.Data["ring.json"]), `"version":1`, `"version":2`, 1))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{})
			b.reconcile()
			b.told()
			secret := b.secret("-signing")
			test.harm(secret)
			b.must(b.client.Update(context.Background(), secret))
			harmed, published := b.secret("-signing"), b.configMap()

			b.step(2 * rotateEvery)
			if got, want := b.secret("-signing").ResourceVersion, harmed.ResourceVersion; got != want {
				t.Error("got the Secret written, want it left alone")
			}
			if got, want := b.configMap().ResourceVersion, published.ResourceVersion; got != want {
				t.Error("got the key set written, want it left alone")
			}
			ready := b.condition("Ready")
			if got, want := string(ready.Status)+" "+ready.Reason, "False Unreadable"; got != want {
				t.Errorf("got Ready %s, want %s", got, want)
			}
			if strings.Contains(ready.Message, string(harmed.Data["private.pem"])) && len(harmed.Data) > 0 {
				t.Error("got the private key in the message")
			}
			if diff := cmp.Diff(b.told(), []string{"Unreadable"}); diff != "" {
				t.Errorf("events (-got +want):\n%s", diff)
			}
		})
	}
}

func TestADamagedSecretThatIsRestoredGoesOn(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	active, secret := b.active(), b.secret("-signing")
	whole := secret.Data["ring.json"]
	secret.Data["ring.json"] = []byte("{}")
	b.must(b.client.Update(context.Background(), secret))
	b.reconcile()
	secret = b.secret("-signing")
	secret.Data["ring.json"] = whole
	b.must(b.client.Update(context.Background(), secret))
	b.reconcile()
	if got := b.active(); got != active {
		t.Errorf("got key %s signing, want %s as before", got, active)
	}
	if got, want := b.condition("Ready").Reason, "Ready"; got != want {
		t.Errorf("got reason %s, want %s", got, want)
	}
}

func TestWhatIsDerivedFromTheRingIsPutRight(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	secret, configMap := b.secret("-signing"), b.configMap()
	wantSecret, wantSet := secret.Data, configMap.Data
	secret.Data = map[string][]byte{"ring.json": secret.Data["ring.json"], "kid": []byte("forged"), "private.pem": []byte("forged")}
	b.must(b.client.Update(context.Background(), secret))
	configMap.Data = map[string]string{"jwks.json": "{}"}
	b.must(b.client.Update(context.Background(), configMap))
	b.reconcile()
	if diff := cmp.Diff(b.secret("-signing").Data, wantSecret); diff != "" {
		t.Error("got the Secret still changed, want it put right")
	}
	if diff := cmp.Diff(b.configMap().Data, wantSet); diff != "" {
		t.Errorf("key set (-got +want):\n%s", diff)
	}
}

func TestObjectsOfOthersAreLeftAlone(t *testing.T) {
	name := func(b *bench, suffix string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name + suffix}
	}
	tests := []struct {
		name   string
		theirs func(*bench) client.Object
	}{
		{name: "the Secret", theirs: func(b *bench) client.Object {
			return &corev1.Secret{ObjectMeta: name(b, "-signing"), Data: map[string][]byte{"mine": []byte("x")}}
		}},
		{name: "the ConfigMap", theirs: func(b *bench) client.Object {
			return &corev1.ConfigMap{ObjectMeta: name(b, "-jwks"), Data: map[string]string{"mine": "x"}}
		}},
		{name: "the ConfigMap of an earlier SigningKey", theirs: func(b *bench) client.Object {
			owner := *metav1.NewControllerRef(b.object(), v1alpha1.GroupVersion.WithKind("SigningKey"))
			owner.UID = "earlier"
			object := &corev1.ConfigMap{ObjectMeta: name(b, "-jwks"), Data: map[string]string{"jwks.json": "x"}}
			object.OwnerReferences = []metav1.OwnerReference{owner}
			return object
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{})
			theirs := test.theirs(b)
			b.must(b.client.Create(context.Background(), theirs))
			before := theirs.GetResourceVersion()
			b.wire.Writes()
			result, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key})
			if err != nil || result.RequeueAfter == 0 {
				t.Errorf("got the next look after %s and error %v, want one, and none in the log: the status says it", result.RequeueAfter, err)
			}
			b.must(b.client.Get(context.Background(), client.ObjectKeyFromObject(theirs), theirs))
			if got := theirs.GetResourceVersion(); got != before {
				t.Error("got their object written, want it left alone")
			}
			if got, want := b.condition("Ready").Reason, "NotOwned"; got != want {
				t.Errorf("got reason %s, want %s", got, want)
			}
			for _, write := range b.wire.Writes() {
				if !strings.HasSuffix(write, "/status") {
					t.Errorf("got %s, want only the status written", write)
				}
			}
		})
	}
}

func TestAManagerKilledBetweenAnyTwoWritesIsFollowedByOneThatGoesOn(t *testing.T) {
	moments := []struct {
		name    string
		reach   func(*bench) // what happens before the reconcile that is killed
		want    string
		maxLoss time.Duration
	}{
		{name: "bootstrap", reach: func(*bench) {}, want: "Active"},
		{name: "publishing ahead", want: "Active Pending", reach: func(b *bench) {
			b.reconcile()
			b.clock.SetTime(start.Add(rotateEvery - publishLead))
		}},
		{name: "activation", want: "Retiring Active", reach: func(b *bench) {
			b.reconcile()
			b.step(rotateEvery - publishLead)
			b.clock.SetTime(start.Add(rotateEvery))
		}},
		{name: "retirement", want: "Active", reach: func(b *bench) {
			b.reconcile()
			b.step(rotateEvery - publishLead)
			b.step(publishLead)
			b.clock.SetTime(start.Add(rotateEvery + retain))
		}},
		{name: "revocation", want: "Active", reach: func(b *bench) {
			b.reconcile()
			revoked := b.active()
			b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{revoked} })
		}},
		{name: "becoming symmetric", want: "Active Pending", reach: func(b *bench) {
			b.reconcile()
			b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.Algorithm = "HS256" })
		}},
	}
	for _, moment := range moments {
		t.Run(moment.name, func(t *testing.T) {
			for writes := 0; ; writes++ {
				b := newBench(t, v1alpha1.SigningKeySpec{})
				moment.reach(b)
				b.wire.CutAfter(writes)
				_, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key})
				b.wire.Mend()
				survived := err == nil
				b.reconcile()
				if got := b.phases(); got != moment.want {
					t.Errorf("killed after %d writes: got %s, want %s", writes, got, moment.want)
				}
				if got, want := b.condition("Ready").Reason, "Ready"; got != want {
					t.Errorf("killed after %d writes: got reason %s, want %s", writes, got, want)
				}
				if b.object().Spec.Algorithm != "HS256" {
					b.inStep()
				}
				b.wire.Writes()
				b.reconcile()
				if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
					t.Errorf("killed after %d writes: writes once all is done (-got +want):\n%s", writes, diff)
				}
				if survived {
					if writes == 0 {
						t.Error("got a reconcile that wrote nothing, want one to be killed in")
					}
					return
				}
			}
		})
	}
}

func TestAKeyThatWasStoredButNeverPublishedDoesNotSign(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	first := b.active()
	b.clock.SetTime(start.Add(rotateEvery - publishLead))
	b.wire.CutAfter(1) // the Secret is written, the key set is not
	if _, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key}); err == nil {
		t.Fatal("the wire was not cut")
	}
	b.wire.Mend()
	if got, want := b.phases(), "Active Pending"; got != want {
		t.Fatalf("got %s stored, want %s", got, want)
	}
	b.step(publishLead + time.Hour) // nobody was there meanwhile
	if got := b.active(); got != first {
		t.Error("got a key signing that nobody could know, want the first")
	}
	b.step(publishLead - time.Second)
	if got := b.active(); got != first {
		t.Error("got a key signing before its lead was over, want the first")
	}
	b.step(time.Second)
	if got := b.active(); got == first {
		t.Error("got the first key still signing, want its successor")
	}
}

func TestTwoManagersNeverMakeTwoRings(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	other, _ := controllertest.Client(t, controllertest.Config())
	managers := []*signingkey.Reconciler{b.reconciler, {Client: other, Live: other, Clock: b.clock, Events: events.NewFakeRecorder(100)}}
	moments := []time.Time{start, start.Add(rotateEvery - publishLead), start.Add(rotateEvery), start.Add(rotateEvery + retain)}
	wants := []string{"Active", "Active Pending", "Retiring Active", "Active"}
	for i, now := range moments {
		b.clock.SetTime(now)
		var race sync.WaitGroup
		for _, manager := range managers {
			race.Go(func() {
				for range 3 {
					// Whoever loses a race is told to come again; other errors are for the log.
					if _, err := manager.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key}); err != nil {
						t.Errorf("at moment %d: got %v, want races to pass quietly", i, err)
					}
				}
			})
		}
		race.Wait()
		b.reconcile()
		if got := b.phases(); got != wants[i] {
			t.Errorf("at moment %d: got %s, want %s", i, got, wants[i])
		}
		b.inStep()
	}
}

func TestADeletedKeyIsLeftToTheGarbageCollector(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	key := b.object()
	key.Finalizers = []string{"example.com/hold"}
	b.must(b.client.Update(context.Background(), key))
	b.must(b.client.Delete(context.Background(), key))
	b.wire.Writes()
	b.reconcile()
	if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
		t.Errorf("writes (-got +want):\n%s", diff)
	}
	owners := func(o client.Object) bool {
		return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.Name == "k" && *r.Controller })
	}
	alive := newBench(t, v1alpha1.SigningKeySpec{})
	alive.reconcile()
	if !owners(alive.secret("-signing")) || !owners(alive.configMap()) {
		t.Error("got objects that nobody owns, want the SigningKey to own them")
	}
}

func TestALostRingIsAWarningAndTheFirstOneIsNot(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string{"KeyActivated"}); diff != "" {
		t.Errorf("events of the first ring (-got +want):\n%s", diff)
	}
	lost := b.active()
	b.must(b.client.Delete(context.Background(), b.secret("-signing")))
	b.reconcile()
	if got, want := <-b.events.Events, "Warning KeysLost "; !strings.HasPrefix(got, want) || !strings.Contains(got, lost) {
		t.Errorf("got event %q, want %q and the key's name", got, want)
	}
	if diff := cmp.Diff(b.told(), []string{"KeyActivated"}); diff != "" {
		t.Errorf("further events (-got +want):\n%s", diff)
	}
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string(nil)); diff != "" {
		t.Errorf("events after that (-got +want):\n%s", diff)
	}
}
