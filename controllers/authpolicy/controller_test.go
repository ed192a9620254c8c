package authpolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/authpolicy"
	"github.com/latchkey-dev/latchkey/controllers/coverage"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// bench is a namespace with what policies refer to, under a reconciler.
type bench struct {
	*testing.T
	client     client.Client
	wire       *controllertest.Wire
	events     *events.FakeRecorder
	bare       *coverage.Finder
	reconciler *authpolicy.Reconciler
	namespace  string
	token      sidecartoken.Token // of the TokenIssuer that was made last
}

func newBench(t *testing.T) *bench {
	c, wire := controllertest.Client(t, controllertest.Config())
	ca, err := pki.NewCA(start)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, client: c, wire: wire, events: events.NewFakeRecorder(100), namespace: controllertest.Namespace(t, c)}
	b.bare = &coverage.Finder{Namespaces: c, Pods: c, Events: events.NewFakeRecorder(100)}
	b.reconciler = &authpolicy.Reconciler{
		Client: c, Live: c, Known: c, Clock: clocktesting.NewFakePassiveClock(start), Events: b.events, CA: ca,
		Ledger: &applied.Ledger{}, Bare: b.bare, SidecarImage: "registry.example/latchkey-sidecar:2",
	}
	b.newManager()
	return b
}

func (b *bench) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: b.namespace, Name: name}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) create(object client.Object) {
	b.Helper()
	b.must(b.client.Create(ctx, object))
}

func (b *bench) try(policy string) error {
	_, err := b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: b.namespace, Name: policy}})
	return err
}

func (b *bench) reconcile(policy string) {
	b.Helper()
	b.must(b.try(policy))
}

func get[T client.Object](b *bench, object T, name string) T {
	b.Helper()
	b.must(b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: name}, object))
	return object
}

func (b *bench) policy(name string) *v1alpha1.AuthPolicy { return get(b, &v1alpha1.AuthPolicy{}, name) }

func (b *bench) edit(name string, change func(*v1alpha1.AuthPolicySpec)) {
	b.Helper()
	policy := b.policy(name)
	change(&policy.Spec)
	b.must(b.client.Update(ctx, policy))
	b.wire.Writes()
}

// bundle is what pods of the policy read from its ConfigMap.
func (b *bench) bundle(policy string) *bundle.Bundle {
	b.Helper()
	parsed, err := bundle.Parse(b.document(policy))
	b.must(err)
	return parsed
}

// document is the bundle as it was written, to a Secret where it has secrets.
func (b *bench) document(policy string) []byte {
	b.Helper()
	secret := &corev1.Secret{}
	if b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: policy + "-bundle"}, secret) == nil {
		return secret.Data[bundle.FileName]
	}
	return []byte(get(b, &corev1.ConfigMap{}, policy+"-bundle").Data[bundle.FileName])
}

// conditions are the reasons of Accepted and Ready: "Accepted Ready".
func (b *bench) conditions(policy string) string {
	b.Helper()
	object := b.policy(policy)
	var all []string
	for _, conditionType := range []string{"Accepted", "Ready"} {
		condition := meta.FindStatusCondition(object.Status.Conditions, conditionType)
		if condition == nil {
			b.Fatalf("no condition %s", conditionType)
		}
		holds := condition.Reason == conditionType
		if got := condition.Status == metav1.ConditionTrue; got != holds || condition.ObservedGeneration != object.Generation {
			b.Errorf("condition %s: got status %s of generation %d with reason %s", conditionType, condition.Status, condition.ObservedGeneration, condition.Reason)
		}
		all = append(all, condition.Reason)
	}
	return strings.Join(all, " ")
}

func (b *bench) told() []string {
	var told []string
	for {
		select {
		case event := <-b.events.Events:
			told = append(told, strings.Join(strings.Fields(event)[:2], " "))
		default:
			return told
		}
	}
}

func (b *bench) message(policy, conditionType string) string {
	b.Helper()
	return meta.FindStatusCondition(b.policy(policy).Status.Conditions, conditionType).Message
}

// keySet makes a set with one new key.
func keySet(t *testing.T, algorithm string) *keyset.Set {
	t.Helper()
	key, err := signing.Generate(algorithm, 0)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.NewSet(key.Public(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func document(t *testing.T, set *keyset.Set) string {
	t.Helper()
	encoded, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// signingKey makes a SigningKey that has published a set, as its controller does.
func (b *bench) signingKey(name string, set *keyset.Set) {
	b.Helper()
	key := &v1alpha1.SigningKey{ObjectMeta: b.named(name)}
	b.create(key)
	published := b.named(name + "-jwks")
	published.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(key, v1alpha1.GroupVersion.WithKind("SigningKey"))}
	if set.Symmetric() {
		b.create(&corev1.Secret{ObjectMeta: published, Data: map[string][]byte{"jwks.json": []byte(document(b.T, set))}})
	} else {
		b.create(&corev1.ConfigMap{ObjectMeta: published, Data: map[string]string{"jwks.json": document(b.T, set)}})
	}
}

// tokenIssuer makes a TokenIssuer with its Service, as its controller does.
func (b *bench) tokenIssuer(name, signingKey string) *corev1.Service {
	b.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: b.named(name), Spec: v1alpha1.TokenIssuerSpec{
		Issuer:        "https://" + name + ".example",
		SigningKeyRef: v1alpha1.ObjectRef{Name: signingKey},
		AccessToken:   v1alpha1.AccessToken{Audiences: []string{"app"}},
		Login:         v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
	}}
	b.create(issuer)
	service := &corev1.Service{ObjectMeta: b.named(name + "-issuer"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8443}}}}
	service.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(issuer, v1alpha1.GroupVersion.WithKind("TokenIssuer"))}
	b.create(service)
	b.token = sidecartoken.New()
	secret := &corev1.Secret{ObjectMeta: b.named(name + "-issuer-sidecars"), Data: map[string][]byte{sidecartoken.File: []byte(b.token.Encode())}}
	secret.OwnerReferences = service.OwnerReferences
	b.create(secret)
	return service
}

func ref(name string) *v1alpha1.ObjectRef { return &v1alpha1.ObjectRef{Name: name} }

// connection is a header that the API server takes and the compiler refuses, because it steers HTTP itself.
var connection = []v1alpha1.ClaimHeader{{Name: "Connection", Claim: "sub"}}

// spec is a policy that takes tokens whose keys come from keys, for pods with the label app.
func spec(app string, keys v1alpha1.KeySource) v1alpha1.AuthPolicySpec {
	issuer := v1alpha1.PolicyIssuer{Audiences: []string{"app"}, Keys: keys}
	if keys.TokenIssuerRef == nil {
		issuer.URL = "https://issuer.example"
	}
	return v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
		Ports:    []int32{8080},
		Issuers:  []v1alpha1.PolicyIssuer{issuer},
		Rules:    []v1alpha1.PolicyRule{{Paths: []v1alpha1.PathMatch{{Prefix: "/"}}, Access: v1alpha1.AccessAuthenticated}},
	}
}

func (b *bench) applied(name string, s v1alpha1.AuthPolicySpec) {
	b.Helper()
	b.create(&v1alpha1.AuthPolicy{ObjectMeta: b.named(name), Spec: s})
	b.wire.Writes()
}

func TestAPolicyBecomesTheBundleOfItsSidecars(t *testing.T) {
	b := newBench(t)
	set := keySet(t, "ES256")
	b.signingKey("key", set)
	service := b.tokenIssuer("auth", "key")
	wanted := spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")})
	wanted.Session = &v1alpha1.PolicySession{TokenIssuerRef: *ref("auth")}
	wanted.Forward = v1alpha1.Forward{Headers: []v1alpha1.ClaimHeader{{Name: "X-Auth-Email", Claim: "email"}}, Token: v1alpha1.TokenKeep}
	b.applied("p", wanted)
	b.reconcile("p")

	if got, want := b.conditions("p"), "Accepted Ready"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got := b.bundle("p")
	if diff := cmp.Diff(got.Session, &bundle.Session{PathPrefix: "/auth", Issuer: "https://auth.example"}); diff != "" {
		t.Errorf("session (-got +want):\n%s", diff)
	}
	if !got.Policy.KeepToken || got.Policy.Headers[0].Name != "X-Auth-Email" || got.Policy.Rules[0].Paths[0].Prefix != "/" {
		t.Errorf("got policy %+v, want what the spec says", got.Policy)
	}
	issuer := got.Issuers[0]
	keys, err := keyset.Parse(issuer.Keys)
	b.must(err)
	if keys.Fingerprint() != set.Fingerprint() {
		t.Error("got other keys than the SigningKey has published")
	}
	issuer.Keys = nil
	want := bundle.Issuer{
		URL: "https://auth.example", Audiences: []string{"app"}, TokenType: "at+jwt", ClockSkew: 5 * time.Second,
		KeysFrom: &bundle.KeysFrom{TokenIssuer: "auth", SigningKey: "key"},
		TokenService: &bundle.TokenService{
			URL:     "https://auth-issuer." + b.namespace + ".svc:8443",
			Address: service.Spec.ClusterIP + ":8443",
			CA:      string(b.reconciler.CA.CertPEM()),
			Token:   b.token,
		},
	}
	if diff := cmp.Diff(issuer, want); diff != "" {
		t.Errorf("issuer (-got +want):\n%s", diff)
	}
	if got, want := b.policy("p").Status.Revision, filetree.Hash(map[string][]byte{bundle.FileName: b.document("p")})[:12]; got != want {
		t.Errorf("got revision %s, want %s", got, want)
	}
}

func TestAnIdlePolicyCausesNoWrites(t *testing.T) {
	for _, algorithm := range []string{"ES256", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			b := newBench(t)
			b.signingKey("key", keySet(t, algorithm))
			b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}))
			b.reconcile("p")
			if got, want := b.conditions("p"), "Accepted Ready"; got != want {
				t.Fatalf("got %s: %s, want %s", got, b.message("p", "Accepted"), want)
			}
			b.wire.Writes()
			b.reconcile("p")
			b.reconcile("p")
			if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
				t.Errorf("writes (-got +want):\n%s", diff)
			}
		})
	}
}

func TestSharedSecretsGoIntoASecretOnly(t *testing.T) {
	b := newBench(t)
	b.signingKey("public", keySet(t, "ES256"))
	b.signingKey("shared", keySet(t, "HS256"))
	b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "public"}}))
	b.reconcile("p")
	exists := func(object client.Object) bool {
		err := b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: "p-bundle"}, object)
		b.must(client.IgnoreNotFound(err))
		return !apierrors.IsNotFound(err)
	}
	for _, test := range []struct {
		key                string
		inConfigMap, inSec bool
	}{{"shared", false, true}, {"public", true, false}} {
		b.edit("p", func(s *v1alpha1.AuthPolicySpec) {
			s.Issuers[0].Keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Name: test.key}
		})
		b.reconcile("p")
		if got := exists(&corev1.ConfigMap{}); got != test.inConfigMap {
			t.Errorf("%s keys: got a ConfigMap %v, want %v", test.key, got, test.inConfigMap)
		}
		if got := exists(&corev1.Secret{}); got != test.inSec {
			t.Errorf("%s keys: got a Secret %v, want %v", test.key, got, test.inSec)
		}
		if got, want := b.conditions("p"), "Accepted Ready"; got != want {
			t.Errorf("%s keys: got %s, want %s", test.key, got, want)
		}
	}
}

func TestWhatIsMissingOrWrongIsSaidWithItsPath(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(*bench)
		spec    v1alpha1.AuthPolicySpec
		want    string // reason
		message string
	}{
		{name: "no SigningKey", spec: spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "gone"}}),
			want: "RefNotFound", message: `issuers[0].keys.signingKeyRef: SigningKey "gone" does not exist`},
		{name: "no TokenIssuer", spec: spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("gone")}),
			want: "RefNotFound", message: `issuers[0].keys.tokenIssuerRef: TokenIssuer "gone" does not exist`},
		{name: "a TokenIssuer without its SigningKey", spec: spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")}),
			arrange: func(b *bench) { b.tokenIssuer("auth", "gone") },
			want:    "RefNotFound", message: `TokenIssuer "auth": signingKeyRef: SigningKey "gone" does not exist`},
		{name: "a key set that is not published", spec: spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "new"}}),
			arrange: func(b *bench) { b.create(&v1alpha1.SigningKey{ObjectMeta: b.named("new")}) },
			want:    "RefNotReady", message: `SigningKey "new" has published no key set yet`},
		{name: "a key set that somebody else published", spec: spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "new"}}),
			arrange: func(b *bench) {
				b.create(&v1alpha1.SigningKey{ObjectMeta: b.named("new")})
				b.create(&corev1.ConfigMap{ObjectMeta: b.named("new-jwks"), Data: map[string]string{"jwks.json": document(b.T, keySet(b.T, "ES256"))}})
			},
			want: "RefNotReady", message: `SigningKey "new" has published no key set yet`},
		{name: "pages without scripts, whose refresh tokens come in bodies", spec: func() v1alpha1.AuthPolicySpec {
			s := spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")})
			s.Session = &v1alpha1.PolicySession{TokenIssuerRef: *ref("auth"), ServerRendered: &v1alpha1.ServerRendered{SignInPath: "/sign-in"}}
			return s
		}(),
			arrange: func(b *bench) {
				b.signingKey("key", keySet(b.T, "ES256"))
				b.tokenIssuer("auth", "key")
				issuer := &v1alpha1.TokenIssuer{}
				b.must(b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: "auth"}, issuer))
				issuer.Spec.RefreshToken.Delivery = v1alpha1.RefreshTokenInBody
				b.must(b.client.Update(ctx, issuer))
			},
			want: "Invalid", message: "session.serverRendered: needs a TokenIssuer whose refreshToken.delivery is Cookie"},
		{name: "pages without scripts, whose sign-in page no request reaches", spec: func() v1alpha1.AuthPolicySpec {
			s := spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")})
			s.Session = &v1alpha1.PolicySession{TokenIssuerRef: *ref("auth"), ServerRendered: &v1alpha1.ServerRendered{SignInPath: "/auth/sign-in"}}
			return s
		}(),
			arrange: func(b *bench) {
				b.signingKey("key", keySet(b.T, "ES256"))
				b.tokenIssuer("auth", "key")
			},
			want: "Invalid", message: "session.serverRendered.signInPath: must be a page of the app"},
		{name: "a Service that somebody else made", spec: spec("a", v1alpha1.KeySource{TokenIssuerRef: ref("auth")}),
			arrange: func(b *bench) {
				b.signingKey("key", keySet(b.T, "ES256"))
				service := b.tokenIssuer("auth", "key")
				service.OwnerReferences = nil
				b.must(b.client.Update(ctx, service))
			},
			want: "RefNotReady", message: `TokenIssuer "auth" has no Service yet`},
		{name: "a broken inline set", spec: spec("a", v1alpha1.KeySource{Inline: `{"keys":[{"kty":"RSA"}]}`}),
			want: "Invalid", message: "issuers[0].keys.inline: keys[0]"},
		{name: "a private key inline", spec: spec("a", v1alpha1.KeySource{Inline: `{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0","alg":"HS256"}]}`}),
			want: "Invalid", message: "issuers[0].keys.inline: keys[0]"},
		{name: "a header that steers HTTP", want: "Invalid", message: "forward.headers[0].name",
			spec: func() v1alpha1.AuthPolicySpec {
				s := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
				s.Forward.Headers = connection
				return s
			}()},
		{name: "a token source that is an identity header, and origins that are none", want: "Invalid",
			message: `tokenSources[0].header: is an identity header, or one that HTTP, proxies or browsers give a meaning of their own; choose another; cors.allowOrigins[0]: must be an origin`,
			arrange: func(b *bench) { b.signingKey("key", keySet(b.T, "ES256")) },
			spec: func() v1alpha1.AuthPolicySpec {
				s := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}})
				s.TokenSources = []v1alpha1.TokenSource{{Header: "X-Auth-Subject"}}
				s.CORS = &v1alpha1.CORS{AllowOrigins: []string{"https://Shop.example"}}
				return s
			}()},
		{name: "algorithms that no key is for", want: "Invalid", message: "issuers[0].algorithms",
			spec: func() v1alpha1.AuthPolicySpec {
				s := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
				s.Issuers[0].Algorithms = []v1alpha1.SigningAlgorithm{"RS256"}
				return s
			}()},
		{name: "a selector that means nothing", want: "Invalid", message: "selector: ",
			spec: func() v1alpha1.AuthPolicySpec {
				s := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
				s.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}
				return s
			}()},
		{name: "everything at once", want: "Invalid", message: `SigningKey "gone" does not exist`,
			spec: func() v1alpha1.AuthPolicySpec {
				s := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "gone"}})
				s.Forward.Headers = connection
				return s
			}()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			if test.arrange != nil {
				test.arrange(b)
			}
			b.applied("p", test.spec)
			b.reconcile("p")
			if got, _, _ := strings.Cut(b.conditions("p"), " "); got != test.want {
				t.Errorf("got Accepted for reason %s, want %s", got, test.want)
			}
			if got := b.message("p", "Accepted"); !strings.Contains(got, test.message) {
				t.Errorf("got message %q, want it to say %q", got, test.message)
			}
		})
	}
}

func TestMoreFaultsThanAConditionCanHoldAreCounted(t *testing.T) {
	const rules, paths = 64, 16
	b := newBench(t)
	many := spec("a", v1alpha1.KeySource{Inline: `{"keys":[{"kty":"RSA"},{"kty":"RSA"}]}`})
	many.Rules = nil
	for range rules {
		rule := v1alpha1.PolicyRule{Access: v1alpha1.AccessDeny}
		for range paths {
			rule.Paths = append(rule.Paths, v1alpha1.PathMatch{Exact: "/%41"}) // the API server takes it, and no request can have it
		}
		many.Rules = append(many.Rules, rule)
	}
	b.applied("p", many)
	b.reconcile("p")
	if got, want := b.conditions("p"), "Invalid Invalid"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	message := b.message("p", "Accepted")
	listed, left, found := strings.Cut(message, "; ... and ")
	if !found || len(message) > 32<<10 {
		t.Fatalf("got %d bytes that end in %q, want at most 32 KiB and the number of those left out", len(message), message[max(0, len(message)-100):])
	}
	shown := strings.Count(listed, "exact: ")
	if got, want := listed[strings.LastIndex(listed, "rules["):], fmt.Sprintf("rules[%d].paths[%d].exact: ", (shown-1)/paths, (shown-1)%paths); !strings.HasPrefix(got, want) {
		t.Errorf("the last that is shown: got %q, want %q", got, want)
	}
	if got, want := left, fmt.Sprintf("%d more", rules*paths+2-shown); got != want { // 2: the keys of the set
		t.Errorf("got %q left out, want %q", got, want)
	}
	b.wire.Writes()
	b.reconcile("p")
	if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
		t.Errorf("writes with nothing new (-got +want):\n%s", diff)
	}
}

func TestEachFaultOfAKeySetHasItsPath(t *testing.T) {
	b := newBench(t)
	b.applied("p", spec("a", v1alpha1.KeySource{Inline: `{"keys":[{"kty":"RSA"},{"kty":"RSA"}]}`}))
	b.reconcile("p")
	for i := range 2 {
		if got, want := b.message("p", "Accepted"), fmt.Sprintf("issuers[0].keys.inline: keys[%d].", i); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestABrokenPolicyKeepsItsLastGoodBundle(t *testing.T) {
	b := newBench(t)
	b.signingKey("key", keySet(t, "ES256"))
	b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}))
	b.applied("other", spec("other", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}))
	b.reconcile("p")
	good, revision := get(b, &corev1.ConfigMap{}, "p-bundle"), b.policy("p").Status.Revision
	b.edit("p", func(s *v1alpha1.AuthPolicySpec) { s.Forward.Headers = connection })
	b.reconcile("p")
	b.reconcile("other")
	if got := get(b, &corev1.ConfigMap{}, "p-bundle"); got.ResourceVersion != good.ResourceVersion {
		t.Error("got the bundle written, want the last good one")
	}
	if got, want := b.conditions("p"), "Invalid Invalid"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := b.message("p", "Ready"); !strings.Contains(got, revision) || b.policy("p").Status.Revision != revision {
		t.Errorf("got message %q and revision %q, want both to name %s", got, b.policy("p").Status.Revision, revision)
	}
	if got, want := b.conditions("other"), "Accepted Ready"; got != want {
		t.Errorf("got %s for the policy beside it, want %s", got, want)
	}
}

func TestTheOldestOfThePoliciesThatSelectAPodGoverns(t *testing.T) {
	inline := v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))}
	pod := func(b *bench, policy string, labels map[string]string) {
		labels[v1alpha1.LabelPod], labels[v1alpha1.LabelPolicy] = v1alpha1.LabelPodSidecar, policy
		object := &corev1.Pod{ObjectMeta: b.named("pod-" + policy), Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false),
		}}
		object.Labels = labels
		b.create(object)
	}
	tests := []struct {
		name  string
		other map[string]string // what the younger policy selects; the older selects app=a
		pods  []map[string]string
		want  string // of the younger
	}{
		{name: "the same selector", other: map[string]string{"app": "a"}, want: "Conflicted Ready"},
		{name: "a pod of both", other: map[string]string{"tier": "web"}, pods: []map[string]string{{"app": "a", "tier": "web"}}, want: "Conflicted Ready"},
		{name: "no pod of both", other: map[string]string{"tier": "web"}, pods: []map[string]string{{"app": "a"}}, want: "Accepted Ready"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.applied("a", spec("a", inline)) // of one second: the name decides
			younger := spec("", inline)
			younger.Selector.MatchLabels = test.other
			b.applied("b", younger)
			for _, labels := range test.pods {
				pod(b, "a", labels)
			}
			b.reconcile("a")
			b.reconcile("b")
			if got, want := b.conditions("a"), "Accepted Ready"; got != want {
				t.Errorf("got %s for the older, want %s", got, want)
			}
			if got := b.conditions("b"); got != test.want {
				t.Errorf("got %s for the younger, want %s", got, test.want)
			}
			if got, want := b.message("b", "Accepted"), "created from now on"; strings.HasPrefix(test.want, "Conflicted") != strings.Contains(got, want) {
				t.Errorf("got message %q, want %q in it of a conflict alone: running pods stay with the policy they have", got, want)
			}
			if got, want := b.policy("a").Status.Pods, int32(len(test.pods)); got != want {
				t.Errorf("got %d pods, want %d", got, want)
			}
			b.must(b.client.Delete(ctx, b.policy("a")))
			b.reconcile("b")
			if got, want := b.conditions("b"), "Accepted Ready"; got != want {
				t.Errorf("got %s once the older is gone, want %s", got, want)
			}
		})
	}
}

func TestObjectsOfOthersAreLeftAlone(t *testing.T) {
	for _, algorithm := range []string{"ES256", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			b := newBench(t)
			b.signingKey("key", keySet(t, algorithm))
			configMap := &corev1.ConfigMap{ObjectMeta: b.named("p-bundle"), Data: map[string]string{"mine": "x"}}
			secret := &corev1.Secret{ObjectMeta: b.named("p-bundle"), Data: map[string][]byte{"mine": []byte("x")}}
			b.create(configMap)
			b.create(secret)
			b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}}))
			request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: b.namespace, Name: "p"}}
			if result, err := b.reconciler.Reconcile(ctx, request); err != nil || result.RequeueAfter == 0 {
				t.Errorf("got the next look after %s and error %v, want one, and none in the log: the status says it", result.RequeueAfter, err)
			}
			if got, want := b.conditions("p"), "Accepted NotOwned"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if get(b, &corev1.ConfigMap{}, "p-bundle").ResourceVersion != configMap.ResourceVersion ||
				get(b, &corev1.Secret{}, "p-bundle").ResourceVersion != secret.ResourceVersion {
				t.Error("got their objects written, want them left alone")
			}
		})
	}
}

func TestAManagerKilledBetweenAnyTwoWritesIsFollowedByOneThatGoesOn(t *testing.T) {
	for writes := 0; ; writes++ {
		b := newBench(t)
		b.signingKey("public", keySet(t, "ES256"))
		b.signingKey("shared", keySet(t, "HS256"))
		b.applied("p", spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "public"}}))
		b.reconcile("p")
		b.edit("p", func(s *v1alpha1.AuthPolicySpec) {
			s.Issuers[0].Keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Name: "shared"}
		})
		b.wire.CutAfter(writes)
		err := b.try("p")
		b.wire.Mend()
		b.reconcile("p")
		if got, want := b.conditions("p"), "Accepted Ready"; got != want {
			t.Errorf("killed after %d writes: got %s, want %s", writes, got, want)
		}
		left := b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: "p-bundle"}, &corev1.ConfigMap{})
		if !apierrors.IsNotFound(left) {
			t.Errorf("killed after %d writes: got %v for the ConfigMap, want it removed", writes, left)
		}
		if err == nil {
			return
		}
	}
}

func TestTransitionsOfAPolicyAreEventsAndIdlingIsNone(t *testing.T) {
	b := newBench(t)
	b.applied("p", spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))}))
	for _, step := range []struct {
		change func(*v1alpha1.AuthPolicySpec)
		want   []string
	}{
		{want: []string{"Normal Accepted", "Normal Ready", "Normal NoWarnings", "Normal Current"}},
		{},
		{
			change: func(s *v1alpha1.AuthPolicySpec) {
				s.Issuers[0].Keys = v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "nowhere"}}
			},
			want: []string{"Warning RefNotFound", "Warning RefNotFound"},
		},
		{},
	} {
		if step.change != nil {
			b.edit("p", step.change)
		}
		b.reconcile("p")
		if diff := cmp.Diff(b.told(), step.want); diff != "" {
			t.Errorf("events (-got +want):\n%s", diff)
		}
	}
}
