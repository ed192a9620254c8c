package signingkey_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func (b *bench) remove(object client.Object, name string) {
	b.Helper()
	object.SetNamespace(b.key.Namespace)
	object.SetName(name)
	b.must(b.client.Delete(context.Background(), object))
	b.wire.Writes()
}

// there says whether the SigningKey is still there.
func (b *bench) there() bool {
	b.Helper()
	err := b.client.Get(context.Background(), b.key, &v1alpha1.SigningKey{})
	if !apierrors.IsNotFound(err) {
		b.must(err)
	}
	return err == nil
}

func shared(b *bench) v1alpha1.KeySource {
	return v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: b.key.Name, Namespace: b.key.Namespace}}
}

var everybody = v1alpha1.SigningKeySpec{AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}}

func TestDeletionWaitsUntilNobodyRefersToTheKey(t *testing.T) {
	for _, test := range []struct {
		name    string
		refer   func(b, other *bench)
		forget  func(b, other *bench)
		message string
	}{
		{
			name:    "an AuthPolicy",
			refer:   func(b, _ *bench) { b.policy("p", direct("k")) },
			forget:  func(b, _ *bench) { b.remove(&v1alpha1.AuthPolicy{}, "p") },
			message: `AuthPolicy "p"`,
		},
		{
			name:  "an AuthPolicy that then refers to another",
			refer: func(b, _ *bench) { b.policy("p", direct("k")) },
			forget: func(b, _ *bench) {
				policy := &v1alpha1.AuthPolicy{}
				b.must(b.client.Get(context.Background(), client.ObjectKey{Namespace: b.key.Namespace, Name: "p"}, policy))
				policy.Spec.Issuers[0].Keys.SigningKeyRef.Name = "other"
				b.must(b.client.Update(context.Background(), policy))
			},
			message: `AuthPolicy "p"`,
		},
		{
			name:    "a TokenIssuer",
			refer:   func(b, _ *bench) { b.tokenIssuer("auth", "k") },
			forget:  func(b, _ *bench) { b.remove(&v1alpha1.TokenIssuer{}, "auth") },
			message: `TokenIssuer "auth"`,
		},
		{
			name:    "an AuthPolicy of another namespace, which is not named",
			refer:   func(b, other *bench) { other.policy("secret", shared(b)) },
			forget:  func(_, other *bench) { other.remove(&v1alpha1.AuthPolicy{}, "secret") },
			message: "AuthPolicies of other namespaces (1)",
		},
		{
			name:  "an AuthPolicy of another namespace, until the consent is withdrawn",
			refer: func(b, other *bench) { other.policy("secret", shared(b)) },
			forget: func(b, _ *bench) {
				b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{} })
			},
			message: "AuthPolicies of other namespaces (1)",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, everybody)
			other := b.elsewhere(nil)
			test.refer(b, other)
			b.publish()
			b.remove(&v1alpha1.SigningKey{}, b.key.Name)
			b.reconcile()
			if !b.there() {
				t.Fatal("got the SigningKey gone, want it to wait")
			}
			deletable := b.condition(v1alpha1.ConditionDeletable)
			if got := deletable.Reason; got != "InUse" || !strings.HasSuffix(deletable.Message, ": "+test.message) {
				t.Errorf("got %s: %s; want InUse and %q alone named", got, deletable.Message, test.message)
			}
			if diff := cmp.Diff(b.told(), []string{"InUse"}); diff != "" {
				t.Errorf("events (-got +want):\n%s", diff)
			}
			b.settled()
			b.step(publishLead)
			if got, want := b.phases(), "Retiring Active"; got != want {
				t.Errorf("got %s, want %s: it rotates as ever while it waits", got, want)
			}
			b.inStep()
			test.forget(b, other)
			b.reconcile()
			if b.there() {
				t.Error("got the SigningKey still there, want it gone")
			}
		})
	}
}

func TestAKeyThatNobodyRefersToIsDeletedAtOnce(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	stranger := b.elsewhere(nil)
	stranger.policy("p", shared(b)) // it may not
	b.policy("other", direct("k2"))
	b.tokenIssuer("auth", "k2")
	b.reconcile()
	if got := b.object().Finalizers; got != nil {
		t.Errorf("got finalizers %v, want none", got)
	}
	b.remove(&v1alpha1.SigningKey{}, b.key.Name)
	if b.there() {
		t.Error("got the SigningKey still there, want it gone")
	}
	b.reconcile()
}

func TestANamespaceThatIsDeletedTakesItsKeysWithIt(t *testing.T) {
	b := newBench(t, everybody)
	b.policy("p", direct("k"))
	b.elsewhere(nil).policy("q", shared(b))
	b.reconcile()
	b.must(b.client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.key.Namespace}}))
	b.remove(&v1alpha1.SigningKey{}, b.key.Name) // as the namespace's own controller does
	b.reconcile()
	if b.there() {
		t.Error("got the SigningKey still there, want it let go")
	}
}

func TestAFinalizerComesAndGoesWithTheReferencesAndCausesNoOtherWrites(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	held := func() bool { return slices.Contains(b.object().Finalizers, v1alpha1.FinalizerInUse) }
	b.reconcile()
	b.policy("p", direct("k"))
	b.reconcile()
	if diff := cmp.Diff(b.wire.Writes(), []string{fmt.Sprintf("PATCH /apis/auth.latchkey.dev/v1alpha1/namespaces/%s/signingkeys/k", b.key.Namespace)}); diff != "" || !held() {
		t.Errorf("writes (-got +want):\n%s", diff)
	}
	for range 3 {
		b.step(time.Hour)
	}
	b.writesNothing()
	b.remove(&v1alpha1.AuthPolicy{}, "p")
	b.reconcile()
	if held() {
		t.Error("got the finalizer still there, want it gone with the last reference")
	}
	b.settled()
}

func TestTheFinalizersOfOthersStay(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	b.reconcile()
	key := b.object()
	key.Finalizers = append(key.Finalizers, "example.com/hold")
	b.must(b.client.Update(context.Background(), key))
	b.remove(&v1alpha1.AuthPolicy{}, "p")
	b.remove(&v1alpha1.SigningKey{}, "k")
	b.reconcile()
	if diff := cmp.Diff(b.object().Finalizers, []string{"example.com/hold"}); diff != "" {
		t.Errorf("finalizers (-got +want):\n%s", diff)
	}
	b.settled()
}

// TestAForegroundDeletion: the garbage collector deletes what a SigningKey owns before it, whoever refers to it. (No garbage collector runs here.)
func TestAForegroundDeletionMakesNoNewKeys(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	b.reconcile()
	b.must(b.client.Delete(context.Background(), b.object(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	b.lose()
	b.told()
	b.reconcile()
	if err := b.client.Get(context.Background(), client.ObjectKey{Namespace: b.key.Namespace, Name: "k-signing"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v for the Secret, want none made", err)
	}
	if got := b.condition("Ready"); got.Reason != "Unreadable" || !strings.Contains(got.Message, "being deleted") {
		t.Errorf("got Ready %s: %s", got.Reason, got.Message)
	}
	if diff := cmp.Diff(sorted(strings.Join(b.told(), " ")), "InUse Unreadable"); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	if got := b.published().Len(); got != 1 {
		t.Errorf("got %d keys published, want the one that was: tokens that are out stay good", got)
	}
	b.settled()
}

func TestAnOrphanedSecretIsLeftAsItIs(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.policy("p", direct("k"))
	b.reconcile()
	b.must(b.client.Delete(context.Background(), b.object(), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	secret := b.secret("-signing")
	secret.OwnerReferences = nil // as the garbage collector does
	b.must(b.client.Update(context.Background(), secret))
	b.step(2 * rotateEvery)
	if got := b.secret("-signing").ResourceVersion; got != secret.ResourceVersion {
		t.Error("got the Secret written, want it left to whoever asked for it")
	}
	if got, want := b.condition("Ready").Reason, "NotOwned"; got != want {
		t.Errorf("got Ready for reason %s, want %s", got, want)
	}
	if got, want := b.condition(v1alpha1.ConditionDeletable).Reason, "InUse"; got != want {
		t.Errorf("got Deletable for reason %s, want %s", got, want)
	}
}

func TestADeletedKeyWithAnotherFinalizerOnlyIsLetGoOf(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	b.must(b.client.Delete(context.Background(), b.object(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	b.policy("late", direct("k"))
	b.settled()
}
