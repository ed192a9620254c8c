package authpolicy_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/pki"
)

// certificate is good for 90 days from start.
func (b *bench) certificate() map[string][]byte {
	b.Helper()
	ca, err := pki.NewCA(start)
	b.must(err)
	issued, err := ca.Issue([]string{"shop.example"}, nil, start)
	b.must(err)
	return map[string][]byte{"tls.crt": issued.CertPEM(), "tls.key": issued.KeyPEM()}
}

// shown is what pods of the policy show.
func (b *bench) shown(policy string) *bundle.Certificate {
	b.Helper()
	parsed, err := bundle.Parse(get(b, &corev1.Secret{}, policy+"-bundle").Data[bundle.FileName])
	b.must(err)
	return parsed.Certificate
}

func (b *bench) replace(secret string, data map[string][]byte) {
	b.Helper()
	object := get(b, &corev1.Secret{}, secret)
	object.Data = data
	b.must(b.client.Update(ctx, object))
}

func anonymous(app string) v1alpha1.AuthPolicySpec {
	return v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, Ports: []int32{8080},
		Rules: []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}}, TLS: &v1alpha1.ServingTLS{SecretName: "shop-tls"},
	}
}

func TestCertificateGoesIntoTheBundleAndLaterOnesFollow(t *testing.T) {
	b := newBench(t)
	first, second := b.certificate(), b.certificate()
	b.create(&corev1.Secret{ObjectMeta: b.named("shop-tls"), Type: corev1.SecretTypeTLS, Data: first})
	b.applied("p", anonymous("a"))
	b.reconcile("p")
	if got := b.shown("p"); got.Chain != string(first["tls.crt"]) || string(got.Key) != string(first["tls.key"]) {
		t.Error("got another certificate in the bundle than the Secret's")
	}
	if got, want := b.conditions("p"), "Accepted Ready"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	b.replace("shop-tls", second)
	b.reconcile("p")
	if got := b.shown("p").Chain; got != string(second["tls.crt"]) {
		t.Error("got the old certificate in the bundle, want the new one")
	}

	// The policy breaks; its certificate goes on being renewed.
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Forward.Headers = connection })
	b.replace("shop-tls", first)
	b.reconcile("p")
	if got := b.shown("p").Chain; got != string(first["tls.crt"]) {
		t.Error("got an outdated certificate in the last good bundle, want that of now")
	}
}

func TestCertificateThatCannotBeShownLeavesTheLastGoodOneInForce(t *testing.T) {
	b := newBench(t)
	good, other := b.certificate(), b.certificate()
	b.create(&corev1.Secret{ObjectMeta: b.named("shop-tls"), Type: corev1.SecretTypeTLS, Data: good})
	b.create(&corev1.Secret{ObjectMeta: b.named("opaque"), Data: good})
	b.applied("p", anonymous("a"))
	b.reconcile("p")
	for _, test := range []struct {
		name   string
		change func()
		reason string
		want   string
	}{
		{"the key of another", func() {
			b.replace("shop-tls", map[string][]byte{"tls.crt": good["tls.crt"], "tls.key": other["tls.key"]})
		},
			"RefNotReady", `tls.secretName: Secret "shop-tls" does not hold a certificate with its key: tls: private key does not match public key`},
		{"a Secret that is for something else", func() { b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.TLS.SecretName = "opaque" }) },
			"RefNotReady", `tls.secretName: Secret "opaque" is of type "Opaque", not kubernetes.io/tls`},
		{"no Secret", func() { b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.TLS.SecretName = "gone" }) },
			"RefNotFound", `tls.secretName: Secret "gone" does not exist`},
	} {
		test.change()
		b.reconcile("p")
		if got := b.conditions("p"); got != test.reason+" "+test.reason {
			t.Errorf("%s: got %s, want %s", test.name, got, test.reason)
		}
		if got := b.message("p", "Accepted"); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if got := b.shown("p").Chain; got != string(good["tls.crt"]) {
			t.Errorf("%s: got another certificate in force than the last good one", test.name)
		}
	}
}

func TestCertificateThatExpiresIsSaidInTime(t *testing.T) {
	b := newBench(t)
	b.create(&corev1.Secret{ObjectMeta: b.named("shop-tls"), Type: corev1.SecretTypeTLS, Data: b.certificate()})
	b.applied("p", anonymous("a"))
	look := start
	for _, want := range []string{"Fresh", "ExpiresSoon", "Expired"} {
		b.reconciler.Clock = clocktesting.NewFakePassiveClock(look)
		result, err := b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: b.namespace, Name: "p"}})
		b.must(err)
		condition := meta.FindStatusCondition(b.policy("p").Status.Conditions, "CertificateFresh")
		if condition == nil || condition.Reason != want || !strings.Contains(condition.Message, "shop-tls") {
			t.Fatalf("at %v: got %+v, want %s of shop-tls", look, condition, want)
		}
		if (result.RequeueAfter > 0) != (want != "Expired") || result.RequeueAfter > 90*24*time.Hour {
			t.Errorf("%s: got it looked at again after %v", want, result.RequeueAfter)
		}
		look = look.Add(result.RequeueAfter)
	}
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.TLS = nil })
	b.reconcile("p")
	if condition := meta.FindStatusCondition(b.policy("p").Status.Conditions, "CertificateFresh"); condition != nil {
		t.Errorf("got %+v without tls, want none", condition)
	}
}

func TestTrafficOfAPolicyIsInItsBundle(t *testing.T) {
	b := newBench(t)
	s := anonymous("a")
	s.TLS = nil
	s.Upstream = v1alpha1.Upstream{Protocol: v1alpha1.UpstreamHTTP2, ConnectTimeout: &metav1.Duration{Duration: 2 * time.Second}}
	s.Limits = v1alpha1.Limits{MaxConnections: 7, MaxBodyBytes: 8, StallTimeout: &metav1.Duration{Duration: 90 * time.Second}}
	s.Revocation = v1alpha1.PolicyRevocation{OnLoss: v1alpha1.LossDeny}
	b.applied("p", s)
	b.reconcile("p")
	got := b.bundle("p")
	if want := (bundle.Upstream{Protocol: bundle.ProtocolHTTP2, ConnectTimeout: 2 * time.Second}); got.Upstream != want {
		t.Errorf("got upstream %+v, want %+v", got.Upstream, want)
	}
	if want := (bundle.Limits{MaxConnections: 7, MaxBodyBytes: 8, StallTimeout: 90 * time.Second}); got.Limits != want {
		t.Errorf("got limits %+v, want %+v", got.Limits, want)
	}
	if got.RevocationBound != time.Minute {
		t.Errorf("got a bound of %v, want the default of a minute", got.RevocationBound)
	}

	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Limits.StallTimeout = &metav1.Duration{Duration: 2 * time.Hour} })
	b.reconcile("p")
	if got, want := b.message("p", "Accepted"), "limits.stallTimeout: must be between 1s and 1h0m0s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
