package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/controllertest"
	"github.com/latchkey-dev/latchkey/test/foreignissuer"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var ctx = context.Background()

// startManager runs every controller until the test ends, as the manager does.
func startManager(t *testing.T) {
	t.Helper()
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(controllertest.Config(), ctrl.Options{
		Scheme: controllertest.Scheme(t), Cache: controllers.Cache(), Client: controllers.Client(),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // each test starts a manager of its own
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := controllers.Setup(mgr, controllers.Options{CA: ca, IssuerImage: "issuer:test", SidecarImage: "sidecar:test"}); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- mgr.Start(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the manager stopped with %v", err)
		}
	})
}

// quickstart applies one object of each kind, the policy first: nobody has to know the right order.
func quickstart(t *testing.T, c client.WithWatch) (namespace string, policy *v1alpha1.AuthPolicy) {
	t.Helper()
	namespace = controllertest.Namespace(t, c)
	named := metav1.ObjectMeta{Namespace: namespace, Name: "q"}
	policy = &v1alpha1.AuthPolicy{ObjectMeta: named, Spec: v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "q"}},
		Ports:    []int32{8080},
		Issuers: []v1alpha1.PolicyIssuer{{
			Audiences: []string{"app"}, Keys: v1alpha1.KeySource{TokenIssuerRef: &v1alpha1.ObjectRef{Name: "q"}},
		}},
		Default: v1alpha1.DefaultAuthenticated,
		Session: &v1alpha1.PolicySession{TokenIssuerRef: v1alpha1.ObjectRef{Name: "q"}},
	}}
	for _, object := range []client.Object{
		policy,
		&v1alpha1.TokenIssuer{ObjectMeta: named, Spec: v1alpha1.TokenIssuerSpec{
			Issuer: "https://auth.example", SigningKeyRef: v1alpha1.ObjectRef{Name: "q"},
			AccessToken: v1alpha1.AccessToken{Audiences: []string{"app"}},
			Login:       v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
		}},
		&v1alpha1.SigningKey{ObjectMeta: named},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "users"}, Data: map[string][]byte{"users.yaml": []byte("users: []")}},
	} {
		if err := c.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	return namespace, policy
}

func holds(conditions []metav1.Condition, conditionType string, generation int64) bool {
	condition := meta.FindStatusCondition(conditions, conditionType)
	return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == generation
}

func policyReady(policy *v1alpha1.AuthPolicy) bool {
	return holds(policy.Status.Conditions, "Ready", policy.Generation)
}

func TestObjectsAppliedInAnyOrderBecomeReady(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)

	secret := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "q-bundle"}, secret); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(secret.Data[bundle.FileName])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Issuers[0].TokenService.URL, fmt.Sprintf("https://q-issuer.%s.svc:8443", namespace); got != want {
		t.Errorf("got token service %q, want %q", got, want)
	}

	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}}
	controllertest.Await(t, c, &v1alpha1.TokenIssuerList{}, issuer, func(issuer *v1alpha1.TokenIssuer) bool {
		return holds(issuer.Status.Conditions, "Accepted", issuer.Generation)
	})
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q-issuer"}}
	controllertest.Await(t, c, &appsv1.DeploymentList{}, deployment, func(*appsv1.Deployment) bool { return true })
	deployment.Status.Replicas, deployment.Status.ReadyReplicas = 1, 1 // as the cluster's own controllers would say
	if err := c.Status().Update(ctx, deployment); err != nil {
		t.Fatal(err)
	}
	controllertest.Await(t, c, &v1alpha1.TokenIssuerList{}, issuer, func(issuer *v1alpha1.TokenIssuer) bool {
		return holds(issuer.Status.Conditions, "Ready", issuer.Generation)
	})
}

func TestARevokedKeyLeavesTheBundle(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	key := &v1alpha1.SigningKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}}
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool { return key.Status.ActiveKeyID != "" })
	revoked := key.Status.ActiveKeyID
	edit(t, c, key, func() { key.Spec.RevokedKeyIDs = []string{revoked} })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q-bundle"}}
	controllertest.Await(t, c, &corev1.SecretList{}, secret, func(secret *corev1.Secret) bool {
		return !strings.Contains(string(secret.Data[bundle.FileName]), revoked)
	})
}

func TestARevokedKeyLeavesTheBundleOfAPolicyThatNamesItNoMore(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	key := &v1alpha1.SigningKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}}
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool { return key.Status.ActiveKeyID != "" })
	edit(t, c, policy, func() {
		policy.Spec.Issuers[0].Keys.TokenIssuerRef.Name, policy.Spec.Session.TokenIssuerRef.Name = "typo", "typo"
	})
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, func(policy *v1alpha1.AuthPolicy) bool {
		ready := meta.FindStatusCondition(policy.Status.Conditions, "Ready")
		return ready.Reason == v1alpha1.ReasonRefNotFound && ready.ObservedGeneration == policy.Generation
	})
	revoked := key.Status.ActiveKeyID
	edit(t, c, key, func() { key.Spec.RevokedKeyIDs = []string{revoked} })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q-bundle"}}
	controllertest.Await(t, c, &corev1.SecretList{}, secret, func(secret *corev1.Secret) bool {
		return !strings.Contains(string(secret.Data[bundle.FileName]), revoked)
	})
}

func TestARenewedCertificateComesIntoTheBundleOfAPolicyThatNamesItNoMore(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace := controllertest.Namespace(t, c)
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func() map[string][]byte {
		certificate, err := ca.Issue([]string{"shop.example"}, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{"tls.crt": certificate.CertPEM(), "tls.key": certificate.KeyPEM()}
	}
	shown := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop-tls"}, Type: corev1.SecretTypeTLS, Data: issue()}
	policy := &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}, Spec: v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "q"}}, Ports: []int32{8080},
		Rules: []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}}, TLS: &v1alpha1.ServingTLS{SecretName: "shop-tls"},
	}}
	for _, object := range []client.Object{shown, policy} {
		if err := c.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	edit(t, c, policy, func() { policy.Spec.TLS.SecretName = "typo" })
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, func(policy *v1alpha1.AuthPolicy) bool {
		ready := meta.FindStatusCondition(policy.Status.Conditions, "Ready")
		return ready.Reason == v1alpha1.ReasonRefNotFound && ready.ObservedGeneration == policy.Generation
	})
	renewed := issue()
	edit(t, c, shown, func() { shown.Data = renewed })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q-bundle"}}
	controllertest.Await(t, c, &corev1.SecretList{}, secret, func(secret *corev1.Secret) bool {
		b, err := bundle.Parse(secret.Data[bundle.FileName])
		return err == nil && b.Certificate.Chain == string(renewed["tls.crt"])
	})
}

// sidecar answers /applied as a sidecar does: its files change when the pod has been poked.
type sidecar struct {
	mu      sync.Mutex
	applied string
}

func (s *sidecar) mount(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = hash
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"volumes": map[string]any{"latchkey-bundle": map[string]string{"applied": s.applied}}})
}

func TestAChangedPolicyIsPokedIntoItsPods(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)

	const podIP = "127.78.0.1"
	listener, err := net.Listen("tcp", podIP+":15020")
	if err != nil {
		t.Fatal(err)
	}
	files := &sidecar{}
	files.mount(bundleHash(t, c, namespace))
	server := &http.Server{Handler: files, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	forged := plainPod(namespace, "forged")
	forged.Labels = map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelPolicy: "q"}
	if err := c.Create(ctx, forged); err != nil { // before the other, so that by then it has been seen, and not counted
		t.Fatal(err)
	}
	pod := createPod(t, c, namespace, podIP)
	inStep := func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Status.PodsInStep == 1 && policy.Status.PodsBehind == 0
	}
	behind := func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Status.PodsInStep == 0 && policy.Status.PodsBehind == 1
	}
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, inStep)

	edit(t, c, policy, func() { policy.Spec.Rules = []v1alpha1.PolicyRule{{Access: v1alpha1.AccessDeny}} })
	poked := func(attempt string) func(*corev1.Pod) bool {
		return func(pod *corev1.Pod) bool {
			return strings.HasSuffix(pod.Annotations[v1alpha1.AnnotationVolumes], " "+attempt)
		}
	}
	controllertest.Await(t, c, &corev1.PodList{}, pod, poked("1"))
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, behind)
	controllertest.Await(t, c, &corev1.PodList{}, pod, poked("2")) // the kubelet has missed the first
	files.mount(bundleHash(t, c, namespace))
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, inStep)

	// In step again: the pokes for the next change count from one.
	before := pod.Annotations[v1alpha1.AnnotationVolumes]
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	edit(t, c, policy, func() { policy.Spec.Rules = []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}} })
	controllertest.Await(t, c, &corev1.PodList{}, pod, poked("1"))
	if got := pod.Annotations[v1alpha1.AnnotationVolumes]; strings.Fields(got)[0] == strings.Fields(before)[0] {
		t.Errorf("got the same hash %q in the poke for another bundle", got)
	}
}

// edit changes an object as kubectl patch does: whatever the controllers write meanwhile does not matter.
func edit(t *testing.T, c client.Client, object client.Object, change func()) {
	t.Helper()
	before := object.DeepCopyObject().(client.Object)
	change()
	if err := c.Patch(ctx, object, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func bundleHash(t *testing.T, c client.Client, namespace string) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "q-bundle"}, secret); err != nil {
		t.Fatal(err)
	}
	return filetree.Hash(map[string][]byte{bundle.FileName: secret.Data[bundle.FileName]})
}

func createPod(t *testing.T, c client.Client, namespace, podIP string) *corev1.Pod {
	t.Helper()
	pod, err := inject.Pod(plainPod(namespace, "app"), inject.Sidecar{Image: "sidecar", Policy: "q", Ports: []int32{8080}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, podIP, []corev1.PodIP{{IP: podIP}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := c.Status().Update(ctx, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestAPolicyThatIsCreatedAgainTakesOverOnceItsPredecessorsBundleIsGone(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	if err := c.Delete(ctx, policy); err != nil {
		t.Fatal(err)
	}
	again := &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: policy.Name}, Spec: policy.Spec}
	if err := c.Create(ctx, again); err != nil {
		t.Fatal(err)
	}
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, again, func(p *v1alpha1.AuthPolicy) bool {
		return has(p.Status.Conditions, "Ready", "NotOwned")
	})
	left := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: policy.Name + "-bundle"}}
	if err := c.Delete(ctx, left); err != nil { // no garbage collector runs on this control plane
		t.Fatal(err)
	}
	begun := time.Now()
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, again, policyReady)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("got Ready after %s, want it at once: the removal wakes the controller", took)
	}
}

func TestPodsThatWereThereBeforeTheManagerAreKnownAndThoseOfOthersAreNotKeptInMemory(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	namespace := controllertest.Namespace(t, c)
	if err := c.Create(ctx, plainPod(namespace, "plain")); err != nil {
		t.Fatal(err)
	}
	createPod(t, c, namespace, "127.78.0.2")

	options := controllers.Cache()
	options.Scheme = controllertest.Scheme(t)
	kept, err := cache.New(controllertest.Config(), options)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = kept.Start(t.Context()) }()
	if !kept.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not start")
	}
	var pods corev1.PodList
	if err := kept.List(t.Context(), &pods, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var found []string
	for i := range pods.Items {
		found = append(found, pods.Items[i].Name+" "+pods.Items[i].Labels[v1alpha1.LabelPod])
	}
	if diff := cmp.Diff(found, []string{"app " + v1alpha1.LabelPodSidecar}); diff != "" {
		t.Errorf("pods in memory (-got +want):\n%s", diff)
	}
}

func plainPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false),
		},
	}
}

func TestSetupSaysWhatIsMissing(t *testing.T) {
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		controllers.Setup(nil, controllers.Options{IssuerImage: "x"}).Error(),
		controllers.Setup(nil, controllers.Options{CA: ca}).Error(),
		controllers.Setup(nil, controllers.Options{CA: ca, IssuerImage: "x"}).Error(),
	}
	want := []string{
		"set up the controllers: CA is required", "set up the controllers: IssuerImage is required", "set up the controllers: SidecarImage is required",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("errors (-got +want):\n%s", diff)
	}
}

func TestForeignKeysAreFetchedButNotFromLoopback(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	near, far := foreignissuer.Start(t, "127.0.0.1"), foreignissuer.Start(t, foreignissuer.Address(t))
	key, err := signing.Generate("ES256", 0)
	if err != nil {
		t.Fatal(err)
	}
	near.Publish(t, key)
	far.Publish(t, key)
	policy := &v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: controllertest.Namespace(t, c), Name: "p"},
		Spec:       v1alpha1.AuthPolicySpec{Ports: []int32{8080}, Default: v1alpha1.DefaultAuthenticated},
	}
	for _, issuer := range []*foreignissuer.Issuer{near, far} {
		policy.Spec.Issuers = append(policy.Spec.Issuers, v1alpha1.PolicyIssuer{
			URL: issuer.URL, Audiences: []string{"app"}, Keys: v1alpha1.KeySource{DiscoveryURL: issuer.DiscoveryURL, CertificateAuthority: issuer.CA},
		})
	}
	if err = c.Create(ctx, policy); err != nil {
		t.Fatal(err)
	}
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, func(policy *v1alpha1.AuthPolicy) bool {
		healthy := meta.FindStatusCondition(policy.Status.Conditions, "IssuersHealthy")
		return policyReady(policy) && healthy != nil && healthy.Reason == v1alpha1.ReasonFetchFailed
	})
	want := "issuers[0] (" + near.URL + "): discoveryURL leads to an address that is never dialled: it is a loopback address; no keys of it are known, so its tokens are answered 503"
	if got := meta.FindStatusCondition(policy.Status.Conditions, "IssuersHealthy").Message; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := near.Asked(); got != 0 {
		t.Errorf("got %d requests on loopback", got)
	}
	configMap := &corev1.ConfigMap{}
	if err = c.Get(ctx, client.ObjectKey{Namespace: policy.Namespace, Name: "p-bundle"}, configMap); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse([]byte(configMap.Data[bundle.FileName]))
	if err != nil {
		t.Fatal(err)
	}
	if b.Issuers[0].Keys != nil || b.Issuers[1].Keys == nil {
		t.Errorf("got %+v, want the keys of the second issuer alone", b.Issuers)
	}
}
