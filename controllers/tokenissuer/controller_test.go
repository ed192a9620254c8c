package tokenissuer_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/tokenissuer"
	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/verify"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// bench is one TokenIssuer with all that it refers to, under a reconciler whose clock is stepped by hand.
type bench struct {
	*testing.T
	client     client.Client
	wire       *controllertest.Wire
	events     *events.FakeRecorder
	clock      *clocktesting.FakePassiveClock
	ca         *pki.CA
	reconciler *tokenissuer.Reconciler
	namespace  string
}

func newBench(t *testing.T) *bench {
	c, wire := controllertest.Client(t, controllertest.Config())
	ca, err := pki.NewCA(start)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, client: c, wire: wire, clock: clocktesting.NewFakePassiveClock(start), ca: ca, namespace: controllertest.Namespace(t, c)}
	b.events = events.NewFakeRecorder(100)
	b.reconciler = &tokenissuer.Reconciler{Client: c, Live: c, Clock: b.clock, Events: b.events, CA: ca, Image: "issuer:test"}
	api, err := discovery.NewDiscoveryClientForConfig(controllertest.Config())
	if err != nil {
		t.Fatal(err)
	}
	b.reconciler.Accounts = tokenissuer.AccountsReader{API: api.RESTClient()}
	key := &v1alpha1.SigningKey{ObjectMeta: b.named("key")}
	b.must(c.Create(ctx, key))
	key.Status.ActiveKeyID = "some-key" // as the controller of SigningKeys reports
	b.must(c.Status().Update(ctx, key))
	b.must(c.Create(ctx, &corev1.Secret{ObjectMeta: b.named("users")}))
	b.must(c.Create(ctx, &v1alpha1.TokenIssuer{ObjectMeta: b.named("auth"), Spec: v1alpha1.TokenIssuerSpec{
		Issuer:        "https://auth.example",
		SigningKeyRef: v1alpha1.ObjectRef{Name: "key"},
		AccessToken:   v1alpha1.AccessToken{Audiences: []string{"app"}, Scopes: []string{"orders:read"}},
		Login:         v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
	}}))
	b.wire.Writes()
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

func (b *bench) try() (reconcile.Result, error) {
	return b.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: b.namespace, Name: "auth"}})
}

func (b *bench) reconcile() reconcile.Result {
	b.Helper()
	result, err := b.try()
	b.must(err)
	return result
}

func get[T client.Object](b *bench, object T, name string) T {
	b.Helper()
	b.must(b.client.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: name}, object))
	return object
}

func (b *bench) issuer() *v1alpha1.TokenIssuer { return get(b, &v1alpha1.TokenIssuer{}, "auth") }

func (b *bench) conditions() string {
	b.Helper()
	issuer := b.issuer()
	var all []string
	for _, conditionType := range []string{"Accepted", "Ready"} {
		condition := meta.FindStatusCondition(issuer.Status.Conditions, conditionType)
		if condition == nil {
			b.Fatalf("no condition %s", conditionType)
		}
		if condition.ObservedGeneration != issuer.Generation {
			b.Errorf("condition %s: got observedGeneration %d, want %d", conditionType, condition.ObservedGeneration, issuer.Generation)
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

func (b *bench) message(condition string) string {
	b.Helper()
	found := meta.FindStatusCondition(b.issuer().Status.Conditions, condition)
	if found == nil {
		b.Fatalf("no condition %s", condition)
	}
	return found.Message
}

func TestATokenServiceIsSetUp(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	if got, want := b.conditions(), "Accepted Progressing"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	parsed, err := config.Parse([]byte(get(b, &corev1.ConfigMap{}, "auth-issuer").Data[config.File]))
	b.must(err)
	want := &config.Config{
		Issuer: "https://auth.example", Audiences: []string{"app"}, Scopes: []string{"orders:read"}, AccessTokenTTL: 5 * time.Minute, IdleLifetime: 168 * time.Hour,
		AbsoluteLifetime: 720 * time.Hour, ReuseWindow: 10 * time.Second, Delivery: config.DeliverByCookie, MaxSessionsPerUser: 5,
		OnLimit: config.EndOldest, IPBinding: config.IPBindingLog, Login: config.Login{Users: true},
	}
	if diff := cmp.Diff(parsed, want); diff != "" {
		t.Errorf("config (-got +want):\n%s", diff)
	}
	secret := get(b, &corev1.Secret{}, "auth-issuer-tls")
	certificate, err := pki.Parse(secret.Data["tls.crt"], secret.Data["tls.key"])
	b.must(err)
	if !b.ca.Vouches(certificate, []string{"auth-issuer." + b.namespace + ".svc"}, start) {
		t.Error("got a certificate that does not serve the Service's name")
	}
	service := get(b, &corev1.Service{}, "auth-issuer")
	if got, want := fmt.Sprint(service.Spec.Ports[0].Name, service.Spec.Ports[0].Port, service.Spec.Selector), "https8443 map[auth.latchkey.dev/tokenissuer:auth]"; got != want {
		t.Errorf("got service %s, want %s", got, want)
	}
	if !service.Spec.PublishNotReadyAddresses {
		t.Error("the only pod has no address while it is not ready")
	}
	claim := get(b, &corev1.PersistentVolumeClaim{}, "auth-issuer")
	if got, want := claim.Spec.Resources.Requests.Storage().String(), "1Gi"; got != want {
		t.Errorf("got a volume of %s, want %s", got, want)
	}

	deployment := get(b, &appsv1.Deployment{}, "auth-issuer")
	deployment.Status.Replicas, deployment.Status.ReadyReplicas = 1, 1
	b.must(b.client.Status().Update(ctx, deployment))
	b.reconcile()
	if got, want := b.conditions(), "Accepted Ready"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := b.issuer().Status.URL, "https://auth-issuer."+b.namespace+".svc:8443"; got != want {
		t.Errorf("got url %s, want %s", got, want)
	}
}

func TestThePodIsTakenByTheRestrictedPodSecurityStandard(t *testing.T) {
	b := newBench(t)
	namespace := &corev1.Namespace{}
	b.must(b.client.Get(ctx, client.ObjectKey{Name: b.namespace}, namespace))
	namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	b.must(b.client.Update(ctx, namespace))
	b.reconcile()
	template := get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, GenerateName: "auth-", Labels: template.Labels}, Spec: template.Spec}
	pod.Spec.ServiceAccountName = "" // no controller of this control plane makes the namespace's default account
	if err := b.client.Create(ctx, pod); err != nil && !strings.Contains(err.Error(), `serviceaccount "default" not found`) {
		t.Errorf("got %v, want the pod taken", err)
	}
	if ptr.Deref(template.Spec.AutomountServiceAccountToken, true) {
		t.Error("got a service-account token in the pod, want none")
	}
	if got, want := template.Labels[v1alpha1.LabelInject], "disabled"; got != want {
		t.Errorf("got inject label %q, want %q", got, want)
	}
	if got, want := template.Labels[v1alpha1.LabelPod], "issuer"; got != want {
		t.Errorf("got pod label %q, want %q: the manager sees no pods without it", got, want)
	}
	var args []string
	for _, arg := range template.Spec.Containers[0].Args {
		args = append(args, strings.SplitN(arg, "=", 2)[0])
	}
	if diff := cmp.Diff(args, []string{"--config", "--ring", "--sidecars", "--tls", "--users", "--data", "--listen", "--admin-address"}); diff != "" {
		t.Errorf("flags (-got +want):\n%s", diff)
	}
}

func TestTheAppKnowsTheUsers(t *testing.T) {
	b := newBench(t)
	issuer := b.issuer()
	issuer.Spec.Login = v1alpha1.Login{Webhook: &v1alpha1.LoginWebhook{URL: "https://shop.example/check", SecretRef: v1alpha1.ObjectRef{Name: "hook"}}}
	b.must(b.client.Update(ctx, issuer))
	b.reconcile()
	if got, want := b.message("Accepted"), `login.webhook.secretRef: Secret "hook" does not exist`; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	b.must(b.client.Create(ctx, &corev1.Secret{ObjectMeta: b.named("hook")}))
	b.reconcile()
	parsed, err := config.Parse([]byte(get(b, &corev1.ConfigMap{}, "auth-issuer").Data[config.File]))
	b.must(err)
	if diff := cmp.Diff(parsed.Login, config.Login{Webhook: &config.Webhook{URL: "https://shop.example/check", Timeout: 5 * time.Second}}); diff != "" {
		t.Errorf("login (-got +want):\n%s", diff)
	}
	args := strings.Join(get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template.Spec.Containers[0].Args, " ")
	if strings.Contains(args, "--users=") || !strings.Contains(args, "--webhook=/etc/latchkey/webhook") {
		t.Errorf("got flags %s, want the webhook's secret and no list of users", args)
	}
}

func TestBackendsAreTrustedByTheTokensOfTheirServiceAccounts(t *testing.T) {
	b := newBench(t)
	issuer := b.issuer()
	issuer.Spec.Login.TrustedBackends = []v1alpha1.ServiceAccountRef{{Name: "backend"}, {Name: "batch", Namespace: "jobs"}}
	b.must(b.client.Update(ctx, issuer))
	if got := b.reconcile().RequeueAfter; got <= 0 || got > 5*time.Minute {
		t.Errorf("got the next look in %s, want one within five minutes: the API server may get another key", got)
	}
	parsed, err := config.Parse([]byte(get(b, &corev1.ConfigMap{}, "auth-issuer").Data[config.File]))
	b.must(err)
	if diff := cmp.Diff(parsed.Login.Backends.Subjects, []string{"system:serviceaccount:" + b.namespace + ":backend", "system:serviceaccount:jobs:batch"}); diff != "" {
		t.Errorf("subjects (-got +want):\n%s", diff)
	}

	// A token that the API server issues verifies by what the token service is told.
	account := &corev1.ServiceAccount{ObjectMeta: b.named("backend")}
	b.must(b.client.Create(ctx, account))
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"https://auth.example"}}}
	b.must(b.client.SubResource("token").Create(ctx, account, request))
	keys, err := keyset.Parse(parsed.Login.Backends.Keys)
	b.must(err)
	verifier, err := verify.New([]verify.Issuer{{URL: parsed.Login.Backends.Issuer, Audiences: []string{"https://auth.example"}, Keys: keys}})
	b.must(err)
	verified, err := verifier.Verify(request.Status.Token, time.Now())
	b.must(err)
	if got, want := verified.Subject, parsed.Login.Backends.Subjects[0]; got != want {
		t.Errorf("got sub %s, want %s", got, want)
	}
}

func TestSidecarsGetATokenThatStays(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	first := string(get(b, &corev1.Secret{}, "auth-issuer-sidecars").Data[sidecartoken.File])
	if _, err := sidecartoken.Parse(first); err != nil {
		t.Fatal(err)
	}
	b.reconcile()
	if got := string(get(b, &corev1.Secret{}, "auth-issuer-sidecars").Data[sidecartoken.File]); got != first {
		t.Error("got another token, want the same as before")
	}
	damaged := get(b, &corev1.Secret{}, "auth-issuer-sidecars")
	damaged.Data[sidecartoken.File] = []byte("x")
	b.must(b.client.Update(ctx, damaged))
	b.reconcile()
	if _, err := sidecartoken.Parse(string(get(b, &corev1.Secret{}, "auth-issuer-sidecars").Data[sidecartoken.File])); err != nil {
		t.Errorf("a token that nobody can read is not replaced: %v", err)
	}
}

func TestTheTokenServiceListensOnThePodsAddressOfEitherKind(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	args := get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template.Spec.Containers[0].Args
	for _, podIP := range []string{"10.0.0.1", "fd00::1"} {
		options, err := issuer.ParseFlags(strings.Split(strings.ReplaceAll(strings.Join(args, " "), "$(POD_IP)", podIP), " "), io.Discard)
		b.must(err)
		if got, want := options.Listen, netip.AddrPortFrom(netip.MustParseAddr(podIP), 8443); got != want {
			t.Errorf("got it listening on %s, want %s", got, want)
		}
		if got, want := options.AdminAddress, netip.AddrPortFrom(netip.MustParseAddr(podIP), 8081); got != want {
			t.Errorf("got its admin port on %s, want %s", got, want)
		}
	}
}

func TestATokenServiceServesProfilesInsideItsPodWhereThatIsAskedFor(t *testing.T) {
	b := newBench(t)
	for value, want := range map[string]string{"": "invalid AddrPort", "enabled": "127.0.0.1:8081", "true": "invalid AddrPort"} {
		object := get(b, &v1alpha1.TokenIssuer{}, "auth")
		object.Annotations = map[string]string{v1alpha1.AnnotationProfile: value}
		b.must(b.client.Update(ctx, object))
		b.reconcile()
		args := get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template.Spec.Containers[0].Args
		options, err := issuer.ParseFlags(strings.Split(strings.ReplaceAll(strings.Join(args, " "), "$(POD_IP)", "10.0.0.1"), " "), io.Discard)
		b.must(err)
		if got := options.ProfileAddress.String(); got != want {
			t.Errorf("%q: got profiles at %s, want %s", value, got, want)
		}
	}
}

func TestAnIdleTokenIssuerCausesNoWrites(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	if len(b.wire.Writes()) == 0 {
		t.Fatal("the first reconcile wrote nothing")
	}
	for range 3 {
		b.clock.SetTime(b.clock.Now().Add(time.Hour))
		b.reconcile()
	}
	if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
		t.Errorf("writes (-got +want):\n%s", diff)
	}
}

func TestOneChangeIsOneWrite(t *testing.T) {
	tests := []struct {
		name   string
		change func(*v1alpha1.TokenIssuerSpec)
		want   string
	}{
		{name: "a setting reaches the running pod", change: func(s *v1alpha1.TokenIssuerSpec) { s.AccessToken.TTL.Duration = time.Minute }, want: "PATCH configmaps"},
		{name: "other users are another volume", want: "PATCH deployments", change: func(s *v1alpha1.TokenIssuerSpec) {
			s.Login.UsersSecretRef.Name = "key-signing-users"
		}},
		{name: "the volume grows", change: func(s *v1alpha1.TokenIssuerSpec) { s.Store.SQLite.Size = resource.MustParse("2Gi") }, want: "PATCH persistentvolumeclaims"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.must(b.client.Create(ctx, &corev1.Secret{ObjectMeta: b.named("key-signing-users")}))
			b.reconcile()
			issuer := b.issuer()
			test.change(&issuer.Spec)
			b.must(b.client.Update(ctx, issuer))
			b.wire.Writes()
			_, err := b.try()
			if err != nil && test.want != "PATCH persistentvolumeclaims" { // a volume that is not bound yet cannot grow
				t.Fatal(err)
			}
			var writes []string
			for _, write := range b.wire.Writes() {
				verb, path, _ := strings.Cut(write, " ")
				parts := strings.Split(strings.TrimSuffix(path, "/status"), "/")
				if kind := parts[len(parts)-2]; kind != "tokenissuers" {
					writes = append(writes, verb+" "+kind)
				}
			}
			if diff := cmp.Diff(writes, []string{test.want}); diff != "" {
				t.Errorf("writes (-got +want):\n%s", diff)
			}
		})
	}
}

func TestWhatIsChangedByHandIsPutRight(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	deployment := get(b, &appsv1.Deployment{}, "auth-issuer")
	deployment.Spec.Template.Spec.Containers[0].Image = "forged"
	deployment.Spec.Template.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
	b.must(b.client.Update(ctx, deployment))
	service := get(b, &corev1.Service{}, "auth-issuer")
	service.Spec.Selector = map[string]string{"app": "forged"}
	b.must(b.client.Update(ctx, service))
	b.reconcile()
	container := get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template.Spec.Containers[0]
	if got, want := container.Image, "issuer:test"; got != want {
		t.Errorf("got image %s, want %s", got, want)
	}
	if *container.SecurityContext.AllowPrivilegeEscalation {
		t.Error("got privilege escalation allowed, want it refused again")
	}
	// A selector is one value to the API server: the key that was added goes as well.
	if diff := cmp.Diff(get(b, &corev1.Service{}, "auth-issuer").Spec.Selector, map[string]string{v1alpha1.LabelTokenIssuer: "auth"}); diff != "" {
		t.Errorf("selector (-got +want):\n%s", diff)
	}
}

func TestWhatIsMissingOrWrongIsSaid(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(*bench)
		want    string
		message string
	}{
		{name: "no SigningKey", want: "RefNotFound RefNotFound", message: `signingKeyRef: SigningKey "key" does not exist`, arrange: func(b *bench) {
			b.must(b.client.Delete(ctx, get(b, &v1alpha1.SigningKey{}, "key")))
		}},
		{name: "no users", want: "RefNotFound RefNotFound", message: `login.usersSecretRef: Secret "users" does not exist`, arrange: func(b *bench) {
			b.must(b.client.Delete(ctx, get(b, &corev1.Secret{}, "users")))
		}},
		{name: "a SigningKey without a key", want: "RefNotReady RefNotReady", message: `SigningKey "key" has no key that signs yet`, arrange: func(b *bench) {
			key := get(b, &v1alpha1.SigningKey{}, "key")
			key.Status = v1alpha1.SigningKeyStatus{}
			b.must(b.client.Status().Update(ctx, key))
		}},
		{name: "tokens that outlive their keys", want: "Invalid Invalid", message: "retain of at least 6m0s", arrange: func(b *bench) {
			key := get(b, &v1alpha1.SigningKey{}, "key")
			key.Spec.Retain.Duration = 5 * time.Minute
			b.must(b.client.Update(ctx, key))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			test.arrange(b)
			b.reconcile()
			if got := b.conditions(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			accepted := meta.FindStatusCondition(b.issuer().Status.Conditions, "Accepted")
			if !strings.Contains(accepted.Message, test.message) {
				t.Errorf("got message %q, want it to say %q", accepted.Message, test.message)
			}
			var deployments appsv1.DeploymentList
			b.must(b.client.List(ctx, &deployments, client.InNamespace(b.namespace)))
			if got := len(deployments.Items); got != 0 {
				t.Errorf("got %d Deployments, want none yet", got)
			}
		})
	}
}

func TestARunningTokenServiceSurvivesAWrongEdit(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	deployment := get(b, &appsv1.Deployment{}, "auth-issuer")
	deployment.Status.Replicas, deployment.Status.ReadyReplicas = 1, 1
	b.must(b.client.Status().Update(ctx, deployment))
	before := get(b, &appsv1.Deployment{}, "auth-issuer").ResourceVersion
	issuer := b.issuer()
	issuer.Spec.SigningKeyRef.Name = "typo"
	b.must(b.client.Update(ctx, issuer))
	b.reconcile()
	if got := get(b, &appsv1.Deployment{}, "auth-issuer").ResourceVersion; got != before {
		t.Error("got the Deployment written, want it left as it runs")
	}
	if got, want := b.conditions(), "RefNotFound RefNotFound"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheCertificateIsRenewedInTime(t *testing.T) {
	b := newBench(t)
	result := b.reconcile()
	first := get(b, &corev1.Secret{}, "auth-issuer-tls").Data["tls.crt"]
	b.clock.SetTime(start.Add(result.RequeueAfter - time.Second))
	b.reconcile()
	if got := get(b, &corev1.Secret{}, "auth-issuer-tls").Data["tls.crt"]; string(got) != string(first) {
		t.Error("got another certificate before it was time")
	}
	// A missing reference must not let the certificate run out.
	b.must(b.client.Delete(ctx, get(b, &corev1.Secret{}, "users")))
	b.clock.SetTime(start.Add(result.RequeueAfter))
	b.reconcile()
	secret := get(b, &corev1.Secret{}, "auth-issuer-tls")
	renewed, err := pki.Parse(secret.Data["tls.crt"], secret.Data["tls.key"])
	b.must(err)
	if string(secret.Data["tls.crt"]) == string(first) || renewed.NeedsRenewal(b.clock.Now()) {
		t.Error("got the old certificate, want a fresh one")
	}
}

func TestACertificateOfAnotherAuthorityIsReplaced(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	other, err := pki.NewCA(start)
	b.must(err)
	b.reconciler.CA = other
	b.reconcile()
	secret := get(b, &corev1.Secret{}, "auth-issuer-tls")
	certificate, err := pki.Parse(secret.Data["tls.crt"], secret.Data["tls.key"])
	b.must(err)
	if !other.Vouches(certificate, []string{"auth-issuer." + b.namespace + ".svc"}, start) {
		t.Error("got a certificate that the authority does not vouch for")
	}
}

func TestObjectsOfOthersAreLeftAlone(t *testing.T) {
	tests := []struct {
		name   string
		theirs func(*bench) client.Object
	}{
		{name: "the ConfigMap", theirs: func(b *bench) client.Object {
			return &corev1.ConfigMap{ObjectMeta: b.named("auth-issuer"), Data: map[string]string{"mine": "x"}}
		}},
		{name: "the Service", theirs: func(b *bench) client.Object {
			return &corev1.Service{ObjectMeta: b.named("auth-issuer"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		}},
		{name: "the Secret", theirs: func(b *bench) client.Object {
			return &corev1.Secret{ObjectMeta: b.named("auth-issuer-tls"), Data: map[string][]byte{"mine": []byte("x")}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			theirs := test.theirs(b)
			b.must(b.client.Create(ctx, theirs))
			before := theirs.GetResourceVersion()
			if result, err := b.try(); err != nil || result.RequeueAfter == 0 {
				t.Errorf("got the next look after %s and error %v, want one, and none in the log: the status says it", result.RequeueAfter, err)
			}
			b.must(b.client.Get(ctx, client.ObjectKeyFromObject(theirs), theirs))
			if got := theirs.GetResourceVersion(); got != before {
				t.Error("got their object written, want it left alone")
			}
			if got, want := b.conditions(), "Accepted NotOwned"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestAManagerKilledBetweenAnyTwoWritesIsFollowedByOneThatGoesOn(t *testing.T) {
	for writes := 0; ; writes++ {
		b := newBench(t)
		b.wire.CutAfter(writes)
		_, err := b.try()
		b.wire.Mend()
		b.reconcile()
		if got, want := b.conditions(), "Accepted Progressing"; got != want {
			t.Errorf("killed after %d writes: got %s, want %s", writes, got, want)
		}
		b.wire.Writes()
		b.reconcile()
		if diff := cmp.Diff(b.wire.Writes(), []string(nil)); diff != "" {
			t.Errorf("killed after %d writes: writes once all is done (-got +want):\n%s", writes, diff)
		}
		if err == nil {
			if want := 9; writes != want {
				t.Errorf("got %d writes in a first reconcile, want %d", writes, want)
			}
			return
		}
	}
}

func TestASharedStoreIsMountedAndServedByManyPods(t *testing.T) {
	ref := func(name string) v1alpha1.SecretKeyRef { return v1alpha1.SecretKeyRef{Name: name, Key: "the-key"} }
	authority := ref("authority")
	for _, test := range []struct {
		name, flag, missing string
		store               v1alpha1.Store
	}{
		{name: "PostgreSQL", flag: "--postgresql=/etc/latchkey/store", missing: `store.postgreSQL.dsnSecretRef: Secret "database" does not exist`,
			store: v1alpha1.Store{PostgreSQL: &v1alpha1.PostgreSQLStore{DSNSecretRef: ref("database"), CASecretRef: &authority}}},
		{name: "Redis", flag: "--redis=/etc/latchkey/store", missing: `store.redis.urlSecretRef: Secret "database" does not exist`,
			store: v1alpha1.Store{Redis: &v1alpha1.RedisStore{URLSecretRef: ref("database"), CASecretRef: &authority}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			issuer := b.issuer()
			issuer.Spec.Store, issuer.Spec.Replicas = test.store, 3
			b.must(b.client.Update(ctx, issuer))
			b.reconcile()
			if got := meta.FindStatusCondition(b.issuer().Status.Conditions, "Accepted").Message; got != test.missing {
				t.Errorf("got %q, want %q", got, test.missing)
			}
			b.must(b.client.Create(ctx, &corev1.Secret{ObjectMeta: b.named("database")}))
			b.must(b.client.Create(ctx, &corev1.Secret{ObjectMeta: b.named("authority")}))
			b.reconcile()
			if got, want := b.conditions(), "Accepted Progressing"; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}

			if get(b, &corev1.Service{}, "auth-issuer").Spec.PublishNotReadyAddresses {
				t.Error("pods have addresses while they are not ready, though others are")
			}
			spec := get(b, &appsv1.Deployment{}, "auth-issuer").Spec
			if got, want := *spec.Replicas, int32(3); got != want {
				t.Errorf("got %d replicas, want %d", got, want)
			}
			if got, want := spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType; got != want {
				t.Errorf("got strategy %s, want %s", got, want)
			}
			args := strings.Join(spec.Template.Spec.Containers[0].Args, " ")
			if !strings.Contains(args, test.flag) || !strings.Contains(args, "--owner="+b.namespace+"/auth") || strings.Contains(args, "--data") {
				t.Errorf("got arguments %s, want %s and the owner", args, test.flag)
			}
			if _, err := issuerOptions(args); err != nil {
				t.Errorf("the token service does not take its arguments: %v", err)
			}
			sources := map[string]string{}
			for _, volume := range spec.Template.Spec.Volumes {
				if volume.Name == "latchkey-store" {
					for _, source := range volume.Projected.Sources {
						sources[source.Secret.Items[0].Path] = source.Secret.Name + "/" + source.Secret.Items[0].Key
					}
				}
			}
			if diff := cmp.Diff(sources, map[string]string{"url": "database/the-key", "ca.crt": "authority/the-key", "salt": "auth-issuer-sidecars/token"}); diff != "" {
				t.Errorf("files of the store (-got +want):\n%s", diff)
			}
			var claims corev1.PersistentVolumeClaimList
			b.must(b.client.List(ctx, &claims, client.InNamespace(b.namespace)))
			if got := len(claims.Items); got != 0 {
				t.Errorf("got %d volumes, want none", got)
			}
			if hooks := spec.Template.Spec.Containers[0].Lifecycle; hooks == nil || hooks.PreStop.Sleep.Seconds != 5 {
				t.Errorf("got hooks %v, want a pod to serve on until everybody knows that it goes", hooks)
			}
			budget := get(b, &policyv1.PodDisruptionBudget{}, "auth-issuer")
			if got, want := budget.Spec.MaxUnavailable.IntValue(), 1; got != want {
				t.Errorf("got a budget of %d, want %d", got, want)
			}
		})
	}
}

func TestOnlyPodsOfTheClusterReachTheTokenService(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	policy := get(b, &networkingv1.NetworkPolicy{}, "auth-issuer")
	tcp, https, admin := corev1.ProtocolTCP, intstr.FromInt32(8443), intstr.FromInt32(8081)
	want := networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelTokenIssuer: "auth"}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, // what it may reach is left alone
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
			Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &https}, {Protocol: &tcp, Port: &admin}},
		}},
	}
	if diff := cmp.Diff(policy.Spec, want); diff != "" {
		t.Errorf("who reaches the token service (-got +want):\n%s", diff)
	}
	if pods := get(b, &appsv1.Deployment{}, "auth-issuer").Spec.Template.Labels; pods[v1alpha1.LabelTokenIssuer] != "auth" {
		t.Errorf("got pods with labels %v, want those that the policy is about", pods)
	}
}

func TestAVolumeThatIsNotBoundIsNamed(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	if got, want := b.message("Ready"), `PersistentVolumeClaim "auth-issuer", without a storage class: `; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	claim := get(b, &corev1.PersistentVolumeClaim{}, "auth-issuer")
	claim.Status.Phase = corev1.ClaimBound
	b.must(b.client.Status().Update(ctx, claim))
	b.reconcile()
	if got, want := b.message("Ready"), "waiting for the pod"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestATokenIssuerMovesToASharedStoreAndBack(t *testing.T) {
	b := newBench(t)
	b.must(b.client.Create(ctx, &corev1.Secret{ObjectMeta: b.named("database")}))
	for _, test := range []struct {
		store v1alpha1.Store
		want  appsv1.DeploymentStrategyType
	}{
		{store: v1alpha1.Store{SQLite: &v1alpha1.SQLiteStore{Size: resource.MustParse("1Gi")}}, want: appsv1.RecreateDeploymentStrategyType},
		{store: v1alpha1.Store{Redis: &v1alpha1.RedisStore{URLSecretRef: v1alpha1.SecretKeyRef{Name: "database", Key: "url"}}}, want: appsv1.RollingUpdateDeploymentStrategyType},
		{store: v1alpha1.Store{SQLite: &v1alpha1.SQLiteStore{Size: resource.MustParse("1Gi")}}, want: appsv1.RecreateDeploymentStrategyType},
	} {
		issuer := b.issuer()
		issuer.Spec.Store = test.store
		b.must(b.client.Update(ctx, issuer))
		b.reconcile()
		spec := get(b, &appsv1.Deployment{}, "auth-issuer").Spec
		if spec.Strategy.Type != test.want || (spec.Strategy.RollingUpdate != nil) != (test.want == appsv1.RollingUpdateDeploymentStrategyType) {
			t.Errorf("got strategy %+v, want %s", spec.Strategy, test.want)
		}
		if got, want := len(spec.Template.Spec.Volumes), 6; got != want {
			t.Errorf("got %d volumes, want %d", got, want)
		}
	}
}

func issuerOptions(args string) (issuer.Options, error) {
	return issuer.ParseFlags(strings.Split(strings.ReplaceAll(args, "$(POD_IP)", "10.0.0.1"), " "), io.Discard)
}

func TestTransitionsOfATokenIssuerAreEventsAndIdlingIsNone(t *testing.T) {
	b := newBench(t)
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string{"Normal Accepted", "Normal Progressing"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string(nil)); diff != "" {
		t.Errorf("events while idle (-got +want):\n%s", diff)
	}
	b.must(b.client.Delete(ctx, get(b, &corev1.Secret{}, "users")))
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string{"Warning RefNotFound", "Warning RefNotFound"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
}
