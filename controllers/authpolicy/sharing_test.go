package authpolicy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// elsewhere is a bench in another namespace, for the owner of a shared SigningKey.
func (b *bench) elsewhere() *bench {
	other := *b
	other.namespace = controllertest.Namespace(b.T, b.client)
	return &other
}

func (b *bench) allow(name string, allowed v1alpha1.AllowedNamespaces) {
	b.Helper()
	key := get(b, &v1alpha1.SigningKey{}, name)
	key.Spec.AllowedNamespaces = allowed
	b.must(b.client.Update(ctx, key))
	b.wire.Writes()
}

func (b *bench) label(labels map[string]string) {
	b.Helper()
	namespace := &corev1.Namespace{}
	b.must(b.client.Get(ctx, client.ObjectKey{Name: b.namespace}, namespace))
	namespace.Labels = labels
	b.must(b.client.Update(ctx, namespace))
	b.wire.Writes()
}

func sharedWith(labels map[string]string) v1alpha1.AllowedNamespaces {
	return v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: labels}}
}

var (
	everybody = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
	friends   = map[string]string{"friend": "yes"}
)

func TestAReferenceIntoAnotherNamespaceNeedsItsConsent(t *testing.T) {
	for _, test := range []struct {
		name    string
		allowed v1alpha1.AllowedNamespaces
		labels  map[string]string
		want    string
	}{
		{name: "nothing is said", want: "RefNotPermitted RefNotPermitted"},
		{name: "the same namespace only", allowed: v1alpha1.AllowedNamespaces{From: v1alpha1.FromSame}, labels: friends, want: "RefNotPermitted RefNotPermitted"},
		{name: "all namespaces", allowed: everybody, want: "Accepted Ready"},
		{name: "a selector that matches", allowed: sharedWith(friends), labels: friends, want: "Accepted Ready"},
		{name: "a selector that does not match", allowed: sharedWith(friends), labels: map[string]string{"friend": "no"}, want: "RefNotPermitted RefNotPermitted"},
		{name: "a selector that means nothing", labels: friends, want: "RefNotPermitted RefNotPermitted", allowed: v1alpha1.AllowedNamespaces{
			From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "friend", Operator: "Like"}}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			owner := b.elsewhere()
			signs := newKey(t, "ES256")
			owner.signingKey("key", setOf(t, signs))
			owner.allow("key", test.allowed)
			b.label(test.labels)
			b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key", Namespace: owner.namespace}}))
			b.reconcile("p")
			if got := b.conditions("p"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if test.want == "Accepted Ready" && !b.takes(b.bundle("p"), signs) {
				t.Error("got the key's tokens refused, want them taken")
			}
		})
	}
}

// TestAForbiddenKeyAndNoneLookTheSame: what a policy's author sees of a SigningKey that is not shared with him is what he sees of none, down
// to the writes and events, also when it comes, changes and goes.
func TestAForbiddenKeyAndNoneLookTheSame(t *testing.T) {
	b := newBench(t)
	owner := b.elsewhere()
	s := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key", Namespace: owner.namespace}})
	seen := func() string {
		return b.conditions("p") + "\n" + b.message("p", "Accepted") + "\n" + b.message("p", "Ready") + "\n" + strings.Join(b.told(), ",")
	}
	b.applied("p", s)
	b.reconcile("p")
	none := seen()
	if !strings.HasPrefix(none, "RefNotPermitted RefNotPermitted") {
		t.Fatalf("got %s, want RefNotPermitted", none)
	}
	b.must(b.client.Delete(ctx, b.policy("p")))
	owner.signingKey("key", keySet(t, "ES256"))
	b.applied("p", s)
	b.reconcile("p")
	if diff := cmp.Diff(seen(), none); diff != "" {
		t.Errorf("a key that is not shared and none (-got +want):\n%s", diff)
	}
	b.wire.Writes()
	for _, happens := range []func(){
		func() { owner.publish("key", keySet(t, "ES256")) },
		func() { owner.publish("key", keySet(t, "HS256")) },
		func() { owner.allow("key", sharedWith(friends)) },
		func() { b.must(b.client.Delete(ctx, get(owner, &v1alpha1.SigningKey{}, "key"))) },
	} {
		happens()
		b.wire.Writes()
		b.reconcile("p")
		if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
			t.Errorf("writes (-got +want):\n%s", diff)
		}
		if got := b.told(); got != nil {
			t.Errorf("got events %v, want none", got)
		}
	}
}

func TestWithdrawnConsentTakesTheKeysOutOfTheBundle(t *testing.T) {
	for _, test := range []struct {
		name     string
		withdraw func(b, owner *bench)
		giveBack func(b, owner *bench)
	}{
		{
			name:     "by the spec",
			withdraw: func(_, owner *bench) { owner.allow("key", v1alpha1.AllowedNamespaces{}) },
			giveBack: func(_, owner *bench) { owner.allow("key", everybody) },
		},
		{
			name:     "by the labels of the namespace",
			withdraw: func(b, _ *bench) { b.label(nil) },
			giveBack: func(b, _ *bench) { b.label(friends) },
		},
		{
			name:     "by deletion of the SigningKey",
			withdraw: func(_, owner *bench) { owner.must(owner.client.Delete(ctx, get(owner, &v1alpha1.SigningKey{}, "key"))) },
		},
		{
			name: "while the policy cannot be rendered",
			withdraw: func(b, owner *bench) {
				b.edit("p", mistype)
				owner.allow("key", v1alpha1.AllowedNamespaces{})
			},
		},
		{
			name: "while the policy refers to something else",
			withdraw: func(b, owner *bench) {
				b.edit("p", func(s *v1alpha1.AuthPolicySpec) {
					s.Issuers[0].Keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Name: "typo"}
				})
				owner.allow("key", v1alpha1.AllowedNamespaces{})
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			owner := b.elsewhere()
			signs, own := newKey(t, "ES256"), newKey(t, "ES256")
			owner.signingKey("key", setOf(t, signs))
			owner.allow("key", sharedWith(friends))
			b.label(friends)
			b.signingKey("own", setOf(t, own))
			s := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key", Namespace: owner.namespace}})
			s.Issuers = append(s.Issuers, v1alpha1.PolicyIssuer{
				URL: "https://own.example", Audiences: []string{"app"}, Keys: v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "own", Namespace: b.namespace}},
			})
			b.applied("p", s)
			b.reconcile("p")
			if !b.takes(b.bundle("p"), signs) {
				t.Fatal("got the shared key's tokens refused, want them taken")
			}
			test.withdraw(b, owner)
			b.reconcile("p")
			if b.takes(b.bundle("p"), signs) {
				t.Error("got tokens taken by a key that is not shared any more, want them refused")
			}
			if got, want := b.message("p", "Ready"), `without any for "https://issuer.example"`; !strings.Contains(got, want) {
				t.Errorf("got message %q, want it to say %q", got, want)
			}
			rest := b.bundle("p")
			rest.Issuers = rest.Issuers[1:]
			if !b.takes(rest, own) {
				t.Error("got the tokens of another issuer refused, want them taken as before")
			}
			b.wire.Writes()
			b.reconciler.Clock = clocktesting.NewFakePassiveClock(start.Add(time.Hour))
			b.reconcile("p")
			if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
				t.Errorf("writes an hour later (-got +want):\n%s", diff)
			}
			b.reconciler.Clock = clocktesting.NewFakePassiveClock(start)
			if test.giveBack != nil {
				test.giveBack(b, owner)
				b.reconcile("p")
				if !b.takes(b.bundle("p"), signs) {
					t.Error("got the tokens refused when the consent is back, want them taken")
				}
			}
		})
	}
}

func TestASharedKeyThatIsDamagedStaysAsItWas(t *testing.T) {
	b := newBench(t)
	owner := b.elsewhere()
	signs := newKey(t, "ES256")
	owner.signingKey("key", setOf(t, signs))
	owner.allow("key", everybody)
	b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key", Namespace: owner.namespace}}))
	b.reconcile("p")
	published := get(owner, &corev1.ConfigMap{}, "key-jwks")
	published.Data = map[string]string{"jwks.json": "{}"}
	b.must(b.client.Update(ctx, published))
	b.reconcile("p")
	if got, want := b.conditions("p"), "RefNotReady RefNotReady"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !b.takes(b.bundle("p"), signs) {
		t.Error("got tokens refused, want them taken as before: nobody withdrew the key")
	}
}

func TestSharedSecretsNeverLeaveTheirNamespace(t *testing.T) {
	b := newBench(t)
	owner := b.elsewhere()
	public, secret := newKey(t, "ES256"), newKey(t, "HS256")
	owner.signingKey("key", setOf(t, secret))
	owner.allow("key", everybody)
	b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key", Namespace: owner.namespace}}))
	expect := func(when string) {
		t.Helper()
		b.reconcile("p")
		if got, want := b.conditions("p"), "RefNotPermitted RefNotPermitted"; got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
		if got, want := b.message("p", "Accepted"), "shared secrets"; !strings.Contains(got, want) {
			t.Errorf("%s: got message %q, want it to say %q", when, got, want)
		}
	}
	expect("HS keys alone")

	owner.publish("key", setOf(t, public))
	b.reconcile("p")
	both, err := keyset.NewSet(public.Public(time.Time{}), secret.Public(time.Time{}))
	b.must(err)
	owner.publish("key", both)
	expect("an HS key beside a public one")
	if inForce, isSecret := b.inForce("p"); isSecret || !b.takes(inForce, public) || b.takes(inForce, secret) {
		t.Error("got something else in the bundle than the public key, want that alone")
	}
	owner.publish("key", setOf(t, secret))
	expect("the public key has retired")
	if inForce, isSecret := b.inForce("p"); isSecret || b.takes(inForce, public) || b.takes(inForce, secret) {
		t.Error("got tokens taken, want none of these keys trusted")
	}
}
