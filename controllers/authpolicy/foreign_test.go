package authpolicy_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/foreign"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/test/foreignissuer"
)

// newManager puts a Keeper into the place of the one before, as if the manager had been replaced.
func (b *bench) newManager() {
	b.Helper()
	keeper, err := foreign.New(foreign.Options{Addresses: func(netip.Addr) error { return nil }, Clock: clock.RealClock{}})
	b.must(err)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- keeper.Start(running) }()
	b.Cleanup(func() { stop(); <-ended })
	b.reconciler.Foreign = keeper
}

// answered waits until something has become of a fetch, and reconciles.
func (b *bench) answered(policy string) {
	b.Helper()
	select {
	case <-b.reconciler.Foreign.Changed():
		b.reconcile(policy)
	case <-time.After(time.Minute):
		b.Fatal("nothing became of any fetch")
	}
}

// health is the reason of IssuersHealthy, empty where there is no such condition.
func (b *bench) health(policy string) string {
	b.Helper()
	condition := meta.FindStatusCondition(b.policy(policy).Status.Conditions, "IssuersHealthy")
	if condition == nil {
		return ""
	}
	if (condition.Status == metav1.ConditionTrue) != (condition.Reason == "Healthy") {
		b.Errorf("got status %s with reason %s", condition.Status, condition.Reason)
	}
	return condition.Reason
}

// foreignPolicy takes tokens of a foreign issuer, whose keys come first, and of one with inline keys.
func (b *bench) foreignPolicy(name string, issuer *foreignissuer.Issuer, keys v1alpha1.KeySource) {
	b.Helper()
	keys.CertificateAuthority = issuer.CA
	s := spec(name, keys)
	s.Issuers[0].URL = issuer.URL
	s.Issuers = append(s.Issuers, v1alpha1.PolicyIssuer{
		URL: "https://inline.example", Audiences: []string{"app"}, Keys: v1alpha1.KeySource{Inline: document(b.T, keySet(b.T, "ES256"))},
	})
	b.create(&v1alpha1.AuthPolicy{ObjectMeta: b.named(name), Spec: s})
}

func TestForeignKeysComeIntoTheBundle(t *testing.T) {
	for _, discovery := range []bool{false, true} {
		b, issuer, key := newBench(t), foreignissuer.Start(t, "127.0.0.1"), newKey(t, "ES256")
		issuer.Publish(t, key)
		keys := v1alpha1.KeySource{JWKSURI: issuer.JWKSURI}
		if discovery {
			keys = v1alpha1.KeySource{DiscoveryURL: issuer.DiscoveryURL}
		}
		b.foreignPolicy("p", issuer, keys)
		b.reconcile("p") // asks
		b.answered("p")
		if got := b.bundle("p"); !b.takes(got, key) || got.Issuers[0].Foreign.JWKSURI != issuer.JWKSURI || got.Issuers[0].Foreign.CA != issuer.CA {
			t.Errorf("got %+v", got.Issuers[0])
		}
		if got := b.conditions("p") + " " + b.health("p"); got != "Accepted Ready Healthy" {
			t.Errorf("got conditions %s: %s", got, b.message("p", "IssuersHealthy"))
		}
		b.wire.Writes()
		b.reconcile("p")
		if got := b.wire.Writes(); len(got) > 0 {
			t.Errorf("idle: got writes %v", got)
		}
	}
}

func TestAnIssuerThatWasAlwaysAwayHurtsNoOther(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: issuer.JWKSURI})
	result, err := b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: b.namespace, Name: "p"}})
	if err != nil || result.RequeueAfter == 0 {
		t.Errorf("at first: got %+v, %v; want the answer waited for", result, err)
	}
	b.answered("p")
	got := b.bundle("p")
	if got.Issuers[0].Keys != nil || got.Issuers[0].Foreign == nil || got.Issuers[1].Keys == nil {
		t.Errorf("got %+v, want keys of the second issuer alone", got.Issuers)
	}
	if got := b.conditions("p") + " " + b.health("p"); got != "Accepted Ready FetchFailed" {
		t.Errorf("got conditions %s", got)
	}
	want := "issuers[0] (" + issuer.URL + "): jwksURI answers with status 503; no keys of it are known, so its tokens are answered 503"
	if got := b.message("p", "IssuersHealthy"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnOutageTakesNothingAwayEvenFromANewManager(t *testing.T) {
	b, issuer, key := newBench(t), foreignissuer.Start(t, "127.0.0.1"), newKey(t, "ES256")
	issuer.Publish(t, key)
	for _, name := range []string{"p", "discovered"} {
		keys := v1alpha1.KeySource{JWKSURI: issuer.JWKSURI}
		if name != "p" {
			keys = v1alpha1.KeySource{DiscoveryURL: issuer.DiscoveryURL}
		}
		b.foreignPolicy(name, issuer, keys)
		b.reconcile(name)
		b.answered(name)
	}
	issuer.Stop()
	b.newManager()
	b.told()
	b.wire.Writes()
	for _, name := range []string{"p", "discovered"} {
		b.reconcile(name) // before anything was tried: nobody knows better than before
		if got := b.health(name); got != "Healthy" {
			t.Errorf("got %s, want what was said before", got)
		}
		if !b.takes(b.bundle(name), key) {
			t.Error("got the keys lost by a new manager")
		}
		b.answered(name)
		if got := b.conditions(name) + " " + b.health(name); got != "Accepted Ready FetchFailed" || !b.takes(b.bundle(name), key) {
			t.Errorf("got conditions %s", got)
		}
		if got := b.message(name, "IssuersHealthy"); !strings.Contains(got, "cannot be connected to; the keys that were fetched before stay in force") {
			t.Errorf("got %q", got)
		}
		for _, write := range b.wire.Writes() {
			if !strings.Contains(write, "/status") {
				t.Errorf("got %s, want the bundle untouched", write)
			}
		}
		if got := b.told(); len(got) != 1 || got[0] != "Warning FetchFailed" {
			t.Errorf("got events %v, want one", got)
		}
		b.reconcile(name)
		if got := b.wire.Writes(); len(got) > 0 {
			t.Errorf("during the outage: got writes %v", got)
		}
	}

	// The keys are those of their place: another place has to be asked itself.
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Issuers[0].Keys.JWKSURI += "/moved" })
	b.reconcile("p")
	b.answered("p")
	if got := b.bundle("p").Issuers[0].Keys; got != nil {
		t.Error("got the keys of another place")
	}
}

func TestKeysThatAreNotFitAreLeftOutAndNamed(t *testing.T) {
	b, issuer, key := newBench(t), foreignissuer.Start(t, "127.0.0.1"), newKey(t, "ES256")
	good := document(t, setOf(t, key))
	issuer.PublishText(strings.Replace(good, `{"keys":[`, `{"keys":[{"kty":"RSA","kid":"leaked","alg":"RS256","d":"AQAB"},`, 1))
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: issuer.JWKSURI})
	b.reconcile("p")
	b.answered("p")
	if got := b.conditions("p") + " " + b.health("p"); got != "Accepted Ready KeysRefused" || !b.takes(b.bundle("p"), key) {
		t.Errorf("got conditions %s", got)
	}
	if got := b.message("p", "IssuersHealthy"); !strings.Contains(got, "left out: keys[0].d: belongs to a private key") {
		t.Errorf("got %q", got)
	}
}

func TestABrokenPolicyGoesOnWithFetchedKeys(t *testing.T) {
	b, issuer, first, second := newBench(t), foreignissuer.Start(t, "127.0.0.1"), newKey(t, "ES256"), newKey(t, "ES256")
	issuer.Publish(t, first)
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: issuer.JWKSURI})
	b.reconcile("p")
	b.answered("p")

	b.edit("p", mistype)
	b.reconcile("p")
	if !b.takes(b.bundle("p"), first) {
		t.Error("got the keys lost")
	}
	b.newManager() // which asks at once
	issuer.Publish(t, second)
	b.reconcile("p")
	b.answered("p")
	if got := b.bundle("p"); b.takes(got, first) || !b.takes(got, second) {
		t.Error("got the keys of before, want those of now")
	}
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Issuers = s.Issuers[1:] }) // broken still: the bundle goes on with the issuer
	b.reconcile("p")
	if got := b.bundle("p"); !b.takes(got, second) {
		t.Error("got the keys lost with the issuer in the spec")
	}
}

func TestWhatThePolicyDoesNotTakeIsNoKey(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	rsa, ec := newKey(t, "RS256"), newKey(t, "ES256")
	issuer.Publish(t, rsa, ec)
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: issuer.JWKSURI})
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Issuers[0].Algorithms = []v1alpha1.SigningAlgorithm{"ES256"} })
	b.reconcile("p")
	b.answered("p")
	if got := b.bundle("p"); b.takes(got, rsa) || !b.takes(got, ec) || b.health("p") != "Healthy" {
		t.Errorf("got %s: %s", b.health("p"), b.message("p", "IssuersHealthy"))
	}
	issuer.Stop() // narrowing needs no fetch that succeeds
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) {
		s.Issuers[0].Algorithms = []v1alpha1.SigningAlgorithm{"ES256", "ES384"}
	})
	b.reconcile("p")
	if got := b.bundle("p"); !b.takes(got, ec) {
		t.Error("got the keys lost by an edit during an outage")
	}
}

func TestAForeignSourceThatIsNoneIsInvalid(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	issuer.CA = "nothing"
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: "https://idp.example:70000/"})
	b.reconcile("p")
	if got := b.conditions("p"); got != "Invalid Invalid" {
		t.Errorf("got %s", got)
	}
	want := "issuers[0].keys.jwksURI: must have a port from 1 to 65535, or none; issuers[0].keys.certificateAuthority: holds no PEM certificate"
	if got := b.message("p", "Accepted"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestADeletedPolicyFetchesNothing(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	issuer.Publish(t, newKey(t, "ES256"))
	b.foreignPolicy("p", issuer, v1alpha1.KeySource{JWKSURI: issuer.JWKSURI})
	b.reconcile("p")
	b.answered("p")
	b.must(b.client.Delete(ctx, b.policy("p")))
	b.reconcile("p")
	states, err := b.reconciler.Foreign.Keep(types.NamespacedName{Namespace: b.namespace, Name: "q"},
		[]jwksource.Source{{Issuer: issuer.URL, JWKSURI: issuer.JWKSURI, CA: issuer.CA}})
	b.must(err)
	if !states[0].Pending {
		t.Errorf("got %+v, want it to have been forgotten", states[0])
	}
}
