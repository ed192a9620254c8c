package signingkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

func (b *bench) consistent(want string, saying ...string) {
	b.Helper()
	condition := b.condition(v1alpha1.ConditionConsistent)
	if got := string(condition.Status) + " " + condition.Reason; got != want {
		b.Errorf("got Consistent %s, want %s: %s", got, want, condition.Message)
	}
	for _, text := range saying {
		if !strings.Contains(condition.Message, text) {
			b.Errorf("got message %q, want it to say %q", condition.Message, text)
		}
	}
}

func TestARetainThatIsTooShortIsToldOnTheKeyAsWell(t *testing.T) {
	short := v1alpha1.SigningKeySpec{
		RotateEvery: metav1.Duration{Duration: time.Hour}, PublishLead: metav1.Duration{Duration: time.Minute}, Retain: metav1.Duration{Duration: 5*time.Minute + 59*time.Second},
	}
	b := newBench(t, short)
	b.reconcile()
	b.consistent("True Consistent")
	b.told()
	b.tokenIssuer("auth", "k") // whose ttl is 5m
	b.tokenIssuer("other", "else")
	b.reconcile()
	b.consistent("False RetainTooShort", "retain: is 5m59s", `TokenIssuer "auth" needs at least 6m0s`, "raise retain or lower the ttl")
	if diff := cmp.Diff(b.told(), []string{"RetainTooShort"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	b.settled()
	if got, want := b.condition("Ready").Reason, "Ready"; got != want {
		t.Errorf("got Ready for reason %s, want %s: the keys are kept as the spec says", got, want)
	}
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.Retain.Duration = 6 * time.Minute })
	b.reconcile()
	b.consistent("True Consistent")
	if diff := cmp.Diff(b.told(), []string{"Consistent"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
}

func TestRevokingAKeyThatWasNeverThereIsTold(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	first := b.active()
	b.told()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{first, "typo"} })
	b.reconcile()
	b.consistent("False UnknownKeyIDs", `revokedKeyIDs: "typo": never seen in this ring`)
	if got := b.condition(v1alpha1.ConditionConsistent).Message; strings.Contains(got, first) {
		t.Errorf("got message %q, want it not to name the key that was revoked", got)
	}
	if diff := cmp.Diff(b.told(), []string{"KeyActivated", "KeyRevoked", "UnknownKeyIDs"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	b.step(time.Hour)
	b.consistent("False UnknownKeyIDs")
	if got := b.told(); got != nil {
		t.Errorf("got events %v an hour later, want none", got)
	}
	b.settled()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{first} })
	b.reconcile()
	b.consistent("True Consistent") // it is remembered that it was there
	if diff := cmp.Diff(b.object().Status.RevokedKeyIDs, []string{first}); diff != "" {
		t.Errorf("status.revokedKeyIDs (-got +want):\n%s", diff)
	}
	b.lose()
	b.reconcile()
	b.consistent("True Consistent")
}

func TestARevocationIsKnownAlthoughTheManagerWasKilledInIt(t *testing.T) {
	for writes := range 4 {
		b := newBench(t, v1alpha1.SigningKeySpec{})
		b.reconcile()
		revoked := b.active()
		b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{revoked} })
		b.wire.CutAfter(writes)
		_, _ = b.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: b.key})
		b.wire.Mend()
		b.reconcile()
		b.consistent("True Consistent")
	}
}

func TestASelectorOfNamespacesThatMeansNothingIsTold(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}},
	}}})
	b.reconcile()
	accepted := b.condition("Accepted")
	if accepted.Reason != "Invalid" || !strings.HasPrefix(accepted.Message, "allowedNamespaces.selector: ") {
		t.Errorf("got Accepted %s: %s", accepted.Reason, accepted.Message)
	}
	if got, want := b.condition("Ready").Reason, "Ready"; got != want {
		t.Errorf("got Ready for reason %s, want %s: the keys are kept", got, want)
	}
	b.settled()
}

func TestAFullRingIsToldAndTheKeyThatSignsGoesOn(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.events = events.NewFakeRecorder(1000) // each key that leaves has one
	b.restart()
	b.reconcile()
	ring, signs := b.ring(), b.active()
	meta := ring.Rotation()
	var more []*signing.Key
	for range rotation.MaxKeys - 1 {
		key, err := signing.Generate("EdDSA", 0)
		b.must(err)
		more = append(more, key)
		meta = append(meta, rotation.Key{
			ID: key.ID(), Algorithm: "EdDSA", Phase: rotation.Retiring, PublishedAt: start, ActivatedAt: start, ActivatedBy: rotation.Due, RetiredAt: start.Add(rotateEvery - time.Hour),
		})
	}
	full, err := ring.With(ring.Serial()+1, meta, more...)
	b.must(err)
	text, err := full.Marshal()
	b.must(err)
	b.restore(map[string][]byte{"ring.json": text})
	b.clock.SetTime(start.Add(rotateEvery))
	b.reconcile()
	b.consistent("False RingFull", "retain: the ring holds 120 keys")
	if got := b.active(); got != signs {
		t.Error("got another key signing, want the same until there is room for the next")
	}
	b.inStep()
	b.settled()
	b.step(retain)
	b.consistent("True Consistent")
	if got, want := b.phases(), "Active Pending"; got != want {
		t.Errorf("got %s once there is room, want %s", got, want)
	}
}

// failed is how often attempts have failed for a reason.
func failed(t *testing.T, reason string) (count float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "latchkey_signingkey_failures_total" && metric.GetLabel()[0].GetValue() == reason {
				count = metric.GetCounter().GetValue()
			}
		}
	}
	return count
}

func TestFailedAttemptsAreCountedByReason(t *testing.T) {
	unreadable, others := failed(t, "Unreadable"), failed(t, "Error")
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.wire.CutAfter(0)
	_, _ = b.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: b.key})
	b.wire.Mend()
	b.reconcile()
	b.restore(map[string][]byte{"ring.json": []byte("{}")})
	b.reconcile()
	if got := failed(t, "Unreadable") - unreadable; got != 1 {
		t.Errorf("got %v more Unreadable, want 1", got)
	}
	if got := failed(t, "Error") - others; got != 1 {
		t.Errorf("got %v more Error, want 1", got)
	}
}
