package authpolicy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

func newKey(t *testing.T, algorithm string) *signing.Key {
	t.Helper()
	key, err := signing.Generate(algorithm, 0)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func setOf(t *testing.T, key *signing.Key) *keyset.Set {
	t.Helper()
	set, err := keyset.NewSet(key.Public(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// publish makes a set the one that a SigningKey has published, as its controller does when a key is revoked.
func (b *bench) publish(name string, set *keyset.Set) {
	b.Helper()
	owner := *metav1.NewControllerRef(get(b, &v1alpha1.SigningKey{}, name), v1alpha1.GroupVersion.WithKind("SigningKey"))
	published := b.named(name + "-jwks")
	published.OwnerReferences = []metav1.OwnerReference{owner}
	b.must(client.IgnoreNotFound(b.client.Delete(ctx, &corev1.ConfigMap{ObjectMeta: b.named(name + "-jwks")})))
	b.must(client.IgnoreNotFound(b.client.Delete(ctx, &corev1.Secret{ObjectMeta: b.named(name + "-jwks")})))
	if set.Symmetric() {
		b.create(&corev1.Secret{ObjectMeta: published, Data: map[string][]byte{signing.KeySetFile: []byte(document(b.T, set))}})
	} else {
		b.create(&corev1.ConfigMap{ObjectMeta: published, Data: map[string]string{signing.KeySetFile: document(b.T, set)}})
	}
	b.wire.Writes()
}

// inForce is what pods of the policy read, and whether from a Secret.
func (b *bench) inForce(policy string) (*bundle.Bundle, bool) {
	b.Helper()
	secret := &corev1.Secret{}
	err := b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: policy + "-bundle"}, secret)
	if apierrors.IsNotFound(err) {
		return b.bundle(policy), false
	}
	b.must(err)
	parsed, err := bundle.Parse(secret.Data[bundle.FileName])
	b.must(err)
	return parsed, true
}

// takes reports whether a bundle's sidecars take tokens of its first issuer that a key signs at the tests' start.
func (b *bench) takes(in *bundle.Bundle, key *signing.Key) bool {
	b.Helper()
	issuer := in.Issuers[0]
	parse := keyset.Parse
	if issuer.Symmetric {
		parse = keyset.ParseSymmetric
	}
	keys, err := parse(issuer.Keys)
	b.must(err)
	verifier, err := verify.New([]verify.Issuer{{
		URL: issuer.URL, Audiences: issuer.Audiences, Algorithms: issuer.Algorithms, TokenType: issuer.TokenType, ClockSkew: issuer.ClockSkew, Keys: keys,
	}})
	b.must(err)
	token, err := key.Sign("at+jwt", []byte(`{"iss":"`+issuer.URL+`","aud":"app","exp":`+expiry+`}`))
	b.must(err)
	_, err = verifier.Verify(token, start)
	return err == nil
}

// expiry is a minute after start.
const expiry = "1772366460"

// mistype makes a policy one that cannot be rendered, by something that its keys have nothing to do with.
func mistype(s *v1alpha1.AuthPolicySpec) { s.Forward.Headers = connection }

func TestABrokenPolicyDoesNotKeepRevokedKeys(t *testing.T) {
	direct := v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}
	throughIssuer := v1alpha1.KeySource{TokenIssuerRef: ref("auth")}
	tests := []struct {
		name       string
		keys       v1alpha1.KeySource
		algorithms []v1alpha1.SigningAlgorithm
		wreck      func(*bench) // in the cluster
		mistype    func(*v1alpha1.AuthPolicySpec)
		next       string // algorithm of the key that replaces the revoked one; ES256 if it is not said
		refused    bool   // tokens of the next key, because the policy does not take its algorithm
		inSecret   bool
	}{
		{name: "by a header", keys: direct, mistype: mistype},
		{name: "by a header, with a token service", keys: throughIssuer, mistype: mistype},
		{name: "by a reference", keys: direct, mistype: func(s *v1alpha1.AuthPolicySpec) {
			s.Issuers[0].Keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Name: "typo"}
		}},
		{name: "by a reference, with a token service", keys: throughIssuer, mistype: func(s *v1alpha1.AuthPolicySpec) {
			s.Issuers[0].Keys.TokenIssuerRef = ref("typo")
		}},
		{name: "by a TokenIssuer that is gone", keys: throughIssuer, wreck: func(b *bench) {
			b.must(b.client.Delete(ctx, get(b, &v1alpha1.TokenIssuer{}, "auth")))
		}},
		{name: "by a TokenIssuer whose Service is gone", keys: throughIssuer, wreck: func(b *bench) {
			b.must(b.client.Delete(ctx, get(b, &corev1.Service{}, "auth-issuer")))
		}},
		{name: "by a TokenIssuer that names another SigningKey", keys: throughIssuer, wreck: func(b *bench) {
			issuer := get(b, &v1alpha1.TokenIssuer{}, "auth")
			issuer.Spec.SigningKeyRef.Name = "typo"
			b.must(b.client.Update(ctx, issuer))
		}},
		{name: "and gets shared secrets", keys: direct, mistype: mistype, next: "HS256", inSecret: true},
		{name: "that takes none of the new keys", keys: direct, algorithms: []v1alpha1.SigningAlgorithm{"ES256"}, mistype: mistype, next: "EdDSA", refused: true},
		{name: "by new keys that it does not take", keys: direct, algorithms: []v1alpha1.SigningAlgorithm{"ES256"}, next: "EdDSA", refused: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			revoked := newKey(t, "ES256")
			b.signingKey("key", setOf(t, revoked))
			b.tokenIssuer("auth", "key")
			good := spec("a", test.keys)
			good.Issuers[0].Algorithms = test.algorithms
			b.applied("p", good)
			b.reconcile("p")
			before := b.bundle("p")
			if !b.takes(before, revoked) {
				t.Fatal("the policy takes no tokens to begin with")
			}

			if test.wreck != nil {
				test.wreck(b)
			}
			if test.mistype != nil {
				b.edit("p", test.mistype)
			}
			b.reconcile("p")
			if test.next == "" {
				test.next = "ES256"
			}
			next := newKey(t, test.next)
			b.publish("key", setOf(t, next))
			b.reconcile("p")

			after, inSecret := b.inForce("p")
			if b.takes(after, revoked) {
				t.Error("got tokens of the revoked key taken, want them refused")
			}
			if got, want := b.takes(after, next), !test.refused; got != want {
				t.Errorf("got tokens of the next key taken %v, want %v", got, want)
			}
			if want := test.inSecret || before.HasSecrets(); inSecret != want {
				t.Errorf("got the bundle in a Secret %v, want %v", inSecret, want)
			}
			if diff := cmp.Diff(after.Policy, before.Policy); diff != "" {
				t.Errorf("policy in force, the last good one: %s", diff)
			}
			if _, ready, _ := strings.Cut(b.conditions("p"), " "); ready == "Ready" {
				t.Error("got the policy Ready, want it to say that it is not the one in force")
			}
			if got, want := b.message("p", "Ready"), "with the keys of now"; !strings.Contains(got, want) {
				t.Errorf("got message %q, want %q in it", got, want)
			}

			b.wire.Writes()
			b.reconcile("p")
			if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
				t.Errorf("writes with nothing new (-got +want):\n%s", diff)
			}
		})
	}
}

func TestABrokenPolicyFollowsItsTokenService(t *testing.T) {
	b := newBench(t)
	b.signingKey("key", keySet(t, "ES256"))
	service := b.tokenIssuer("auth", "key")
	b.applied("p", spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")}))
	b.reconcile("p")
	b.edit("p", mistype)
	b.must(b.client.Delete(ctx, service))
	again := &corev1.Service{ObjectMeta: b.named(service.Name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8444}}}}
	again.OwnerReferences = service.OwnerReferences
	b.create(again)
	b.reconcile("p")
	if got, want := b.bundle("p").Issuers[0].TokenService.Address, again.Spec.ClusterIP+":8444"; got != want {
		t.Errorf("got the token service at %s, want it at %s", got, want)
	}
}

func TestWhatABrokenPolicyCannotRenewStaysAsItIs(t *testing.T) {
	b := newBench(t)
	gone, here := keySet(t, "ES256"), keySet(t, "ES256")
	b.signingKey("gone", gone)
	b.signingKey("here", here)
	good := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "gone"}})
	good.Issuers = append(good.Issuers,
		v1alpha1.PolicyIssuer{URL: "https://here.example", Audiences: []string{"app"}, Keys: v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "here"}}},
		v1alpha1.PolicyIssuer{URL: "https://inline.example", Audiences: []string{"app"}, Keys: v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))}})
	b.applied("p", good)
	b.reconcile("p")
	before := b.bundle("p")
	b.must(b.client.Delete(ctx, get(b, &v1alpha1.SigningKey{}, "gone")))
	b.must(b.client.Delete(ctx, get(b, &corev1.ConfigMap{}, "gone-jwks")))
	here = keySet(t, "ES256")
	b.publish("here", here)
	b.reconcile("p")

	after := b.bundle("p")
	for i, url := range []string{"https://issuer.example", "https://here.example", "https://inline.example"} {
		old, err := keyset.Parse(before.Issuers[i].Keys)
		b.must(err)
		now, err := keyset.Parse(after.Issuers[i].Keys)
		b.must(err)
		want := old.Fingerprint()
		if i == 1 {
			want = here.Fingerprint()
		}
		if now.Fingerprint() != want || after.Issuers[i].URL != url {
			t.Errorf("issuer %s: got other keys than wanted", after.Issuers[i].URL)
		}
	}
	if got, want := b.message("p", "Ready"), `with the keys of its time for "https://issuer.example"`; !strings.Contains(got, want) {
		t.Errorf("got message %q, want %q in it", got, want)
	}

	b.signingKey("gone", gone)
	b.reconcile("p")
	if got, want := b.conditions("p"), "Accepted Ready"; got != want {
		t.Errorf("mended: got %s, want %s", got, want)
	}
}

func TestABundleThatNobodyCanReadIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.signingKey("key", keySet(t, "ES256"))
	b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}))
	b.reconcile("p")
	b.edit("p", mistype)
	edited := get(b, &corev1.ConfigMap{}, "p-bundle")
	edited.Data[bundle.FileName] = "by hand"
	b.must(b.client.Update(ctx, edited))
	b.reconcile("p")
	if got, want := get(b, &corev1.ConfigMap{}, "p-bundle").ResourceVersion, edited.ResourceVersion; got != want {
		t.Error("got the bundle written, want it left alone")
	}
	if got, want := b.message("p", "Ready"), "it cannot be read"; !strings.Contains(got, want) {
		t.Errorf("got message %q, want %q in it", got, want)
	}
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Forward.Headers = nil })
	b.reconcile("p")
	b.bundle("p")
	if got, want := b.conditions("p"), "Accepted Ready"; got != want {
		t.Errorf("mended: got %s, want %s", got, want)
	}
}
