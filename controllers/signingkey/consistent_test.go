package signingkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
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
