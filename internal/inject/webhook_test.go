package inject_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/internal/inject/serving"
	"github.com/latchkey-dev/latchkey/test/controlplane"
)

const (
	system = "latchkey-system"
	image  = "example.com/sidecar:1"
	// patience bounds every wait; nothing waits for it to pass.
	patience = time.Minute
)

// controlPlane is started by the first test that needs it.
var controlPlane = sync.OnceValues(controlplane.Start)

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		cluster, err := controlPlane()
		if err == nil {
			err = cluster.Stop()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var started bool

// cluster returns a client of an API server that has the webhook's Service and configuration as config/ has them, and the policy that checks
// what the webhook has done: so every pod of these tests that is injected is one that the policy takes.
func cluster(t *testing.T) (*controlplane.Cluster, client.Client) {
	t.Helper()
	started = true
	running, err := controlPlane()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(running.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"rbac/00-namespace.yaml", "manager/service.yaml", "webhook/mutating_webhook.yaml", "webhook/validating_policy.yaml"} {
		data, err := os.ReadFile(filepath.Join(controlplane.Root(), "config", file))
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			var object unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				t.Fatal(err)
			}
			if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&object), client.FieldOwner("test"), client.ForceOwnership); err != nil {
				t.Fatalf("apply %s: %v", file, err)
			}
		}
	}
	return running, c
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// serve runs the webhook where the API server looks for it: on the very address of the Service. It is up when serve returns, and down
// when stop does.
func serve(t *testing.T) (c client.Client, stop func()) {
	t.Helper()
	running, c := cluster(t)
	ctx, cancel := context.WithCancel(t.Context())

	var service corev1.Service
	must(t, c.Get(ctx, client.ObjectKey{Namespace: system, Name: "latchkey-webhook"}, &service))
	ca, err := serving.Authority(ctx, c, system, time.Now())
	must(t, err)
	certificate, err := serving.NewCertificate(ca, service.Name, system, clock.RealClock{})
	must(t, err)

	anyName := true
	mgr, err := ctrl.NewManager(running.Config, ctrl.Options{
		Scheme:     scheme(t),
		Controller: config.Controller{SkipNameValidation: &anyName}, // several managers, one after another, in this process
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&admissionregistrationv1.MutatingWebhookConfiguration{}: serving.Cache(),
		}},
		Metrics: server.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: service.Spec.ClusterIP, Port: int(service.Spec.Ports[0].Port),
			TLSOpts: []func(*tls.Config){func(t *tls.Config) { t.GetCertificate = certificate.Get }},
		}),
	})
	must(t, err)
	must(t, inject.Setup(ctx, mgr, inject.Options{SidecarImage: image}))
	must(t, serving.Setup(mgr, ca))

	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("the manager stopped: %v", err)
		}
	})
	t.Cleanup(stop)

	// Up means that the API server gets an answer: here, that a pod without a policy is refused by the webhook itself.
	namespace := newNamespace(t, c, nil)
	eventually(t, func(ctx context.Context) error {
		err := c.Create(ctx, webPod(namespace, asking), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "no AuthPolicy") {
			return fmt.Errorf("got %w, want the webhook's own refusal", err)
		}
		return nil
	})
	return c, stop
}

// asking asks for the sidecar.
var asking = map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled}

func TestPodsThatAskForTheSidecarGetIt(t *testing.T) {
	c, _ := serve(t)
	enabled, disabled := v1alpha1.LabelInjectEnabled, v1alpha1.LabelInjectDisabled

	cases := []struct {
		name      string
		namespace string // value of the label; "" for none
		pod       string // likewise
		injected  bool
	}{
		{name: "by the pod's own label", pod: enabled, injected: true},
		{name: "by the namespace's label", namespace: enabled, injected: true},
		{name: "by both labels", namespace: enabled, pod: enabled, injected: true},
		{name: "by the pod's label though its namespace does not want it", namespace: disabled, pod: enabled, injected: true},
		{name: "a misspelt label on the namespace counts as asking", namespace: "Enabled", injected: true},
		{name: "not when neither asks"},
		{name: "not when the pod declines", namespace: enabled, pod: disabled},
		{name: "not when the namespace declines", namespace: disabled},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			namespace := newNamespace(t, c, optIn(test.namespace))
			must(t, c.Create(t.Context(), webPolicy(namespace, "web")))
			pod := webPod(namespace, optIn(test.pod))
			must(t, c.Create(t.Context(), pod))

			if got := inject.Injected(pod); got != test.injected {
				t.Fatalf("got injected %t, want %t", got, test.injected)
			}
			if !test.injected {
				return
			}
			want, err := inject.Pod(pod, inject.Sidecar{Image: image, Policy: "web", Ports: []int32{8080}, Interception: v1alpha1.InterceptionRedirect})
			must(t, err)
			for i := range want.Spec.InitContainers {
				want.Spec.InitContainers[i].TerminationMessagePath = corev1.TerminationMessagePathDefault
				want.Spec.InitContainers[i].TerminationMessagePolicy = corev1.TerminationMessageReadFile
				want.Spec.InitContainers[i].ImagePullPolicy = corev1.PullIfNotPresent
			}
			if diff := cmp.Diff(pod, want); diff != "" {
				t.Errorf("what is stored, what injecting it again makes of it: %s", diff)
			}
			if got := pod.Spec.Containers[0].ReadinessProbe.HTTPGet.Path; got != "/app/readiness" {
				t.Errorf("got readiness probe path %q, want the sidecar's", got)
			}
		})
	}
}

func TestThePodsOwnWordOnWhatItIsDoesNotCount(t *testing.T) {
	c, _ := serve(t)
	namespace := newNamespace(t, c, nil)
	must(t, c.Create(t.Context(), webPolicy(namespace, "web")))
	for _, claimed := range []map[string]string{
		{v1alpha1.LabelPod: v1alpha1.LabelPodIssuer, v1alpha1.LabelPolicy: "other"}, {v1alpha1.LabelPod: ""}, {v1alpha1.LabelPolicy: ""},
	} {
		pod := webPod(namespace, asking)
		maps.Copy(pod.Labels, claimed)
		must(t, c.Create(t.Context(), pod))
		want := map[string]string{"app": "web", v1alpha1.LabelInject: "enabled", v1alpha1.LabelPod: "sidecar", v1alpha1.LabelPolicy: "web"}
		if diff := cmp.Diff(pod.Labels, want); diff != "" {
			t.Errorf("with %v: labels (-got +want):\n%s", claimed, diff)
		}
	}
}

func TestAPolicyThatTheCacheHasNotSeenYetGovernsAllTheSame(t *testing.T) {
	stale := fake.NewClientBuilder().WithScheme(scheme(t)).Build()
	live := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(webPolicy("default", "web")).Build()
	raw, err := json.Marshal(webPod("default", asking))
	must(t, err)
	hook := inject.New(stale, live, image)
	response := hook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
	}})
	if !response.Allowed || len(response.Patches) == 0 {
		t.Errorf("got allowed %t with %d patches, want the sidecar: %v", response.Allowed, len(response.Patches), response.Result)
	}
}

func TestPodsThatAskInVainAreToldWhatToDo(t *testing.T) {
	c, _ := serve(t)
	cases := []struct {
		name   string
		policy bool
		change func(*corev1.Pod)
		want   string
	}{
		{
			name: "no policy", change: func(*corev1.Pod) {},
			want: "apply one whose selector matches the pod's labels, or label the pod auth.latchkey.dev/inject=disabled",
		},
		{
			name: "a misspelt label", policy: true, change: func(p *corev1.Pod) { p.Labels[v1alpha1.LabelInject] = "true" },
			want: `metadata.labels[auth.latchkey.dev/inject]: must be "enabled" or "disabled", not "true"`,
		},
		{
			name: "the network of the host", policy: true, change: func(p *corev1.Pod) { p.Spec.HostNetwork = true },
			want: `AuthPolicy "web" cannot protect this pod: spec.hostNetwork: Forbidden`,
		},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			namespace := newNamespace(t, c, nil)
			if test.policy {
				must(t, c.Create(t.Context(), webPolicy(namespace, "web")))
			}
			pod := webPod(namespace, asking)
			test.change(pod)
			err := c.Create(t.Context(), pod)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a refusal with: %s", err, test.want)
			}
		})
	}
}

func TestAutoChoosesWhatTheNamespaceReallyAdmits(t *testing.T) {
	c, _ := serve(t)
	forbidNetAdmin(t, c)
	cases := []struct {
		name   string
		labels map[string]string
		want   v1alpha1.Interception
	}{
		{name: "a namespace without labels", want: v1alpha1.InterceptionRedirect},
		{name: "privileged", labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}, want: v1alpha1.InterceptionRedirect},
		{name: "baseline", labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}, want: v1alpha1.InterceptionLoopback},
		{name: "restricted", labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, want: v1alpha1.InterceptionLoopback},
		{name: "another policy", labels: map[string]string{"no-net-admin": "here"}, want: v1alpha1.InterceptionLoopback},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			namespace := newNamespace(t, c, test.labels)
			must(t, c.Create(t.Context(), webPolicy(namespace, "web")))
			pod := webPod(namespace, asking)
			must(t, c.Create(t.Context(), pod))
			if got, noted := inject.Interception(pod), pod.Annotations[v1alpha1.AnnotationInterception]; got != test.want || noted != string(test.want) {
				t.Errorf("got %s, noted as %s, want %s", got, noted, test.want)
			}
		})
	}
}

// forbidNetAdmin is another engine of policies, that goes by labels of its own.
func forbidNetAdmin(t *testing.T, c client.Client) {
	t.Helper()
	objects := `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-net-admin}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
  validations:
  - expression: "!has(object.spec.initContainers) || object.spec.initContainers.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add))"
    message: nobody may administrate networks here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-net-admin}
spec: {policyName: no-net-admin, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {no-net-admin: here}}}}
`
	for text := range strings.SplitSeq(objects, "---\n") {
		var object unstructured.Unstructured
		must(t, yaml.Unmarshal([]byte(text), &object.Object))
		must(t, c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&object), client.FieldOwner("test"), client.ForceOwnership))
		t.Cleanup(func() { _ = c.Delete(context.Background(), &object) })
	}
	namespace := newNamespace(t, c, map[string]string{"no-net-admin": "here"})
	eventually(t, func(ctx context.Context) error { // the API server compiles it in the background
		pod := webPod(namespace, nil)
		pod.Spec.InitContainers = []corev1.Container{{Name: "admin", Image: "x", SecurityContext: &corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}},
		}}}
		if err := c.Create(ctx, pod, client.DryRunAll); err == nil {
			return errors.New("the policy is not in force yet")
		}
		return nil
	})
}

func TestRedirectWhereItIsNotAdmittedIsRefusedWithWhatToChange(t *testing.T) {
	c, _ := serve(t)
	namespace := newNamespace(t, c, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	policy := webPolicy(namespace, "web")
	policy.Spec.Interception = v1alpha1.InterceptionRedirect
	must(t, c.Create(t.Context(), policy))
	err := c.Create(t.Context(), webPod(namespace, asking))
	for _, want := range []string{
		`AuthPolicy "web" asks for interception Redirect, but namespace "` + namespace + `" does not admit its init container`,
		"NET_ADMIN", "set spec.interception to Auto or Loopback and have the app listen on 127.0.0.1",
	} {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a refusal with: %s", err, want)
		}
	}

	// Who does as told need not wait until an answer is forgotten.
	must(t, c.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`))))
	eventually(t, func(ctx context.Context) error { return c.Create(ctx, webPod(namespace, asking), client.DryRunAll) })
}

func TestTheNamespaceIsAskedOnceForManyPods(t *testing.T) {
	asked := 0
	policy := webPolicy("default", "web")
	counting := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(policy).Build(), interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, object client.Object, options ...client.CreateOption) error {
			var all client.CreateOptions
			if all.ApplyOptions(options); !slices.Equal(all.DryRun, []string{metav1.DryRunAll}) {
				t.Errorf("%s would be created", object.GetGenerateName())
			}
			if asked++; asked == 1 {
				return apierrors.NewTooManyRequests("later", 1)
			}
			return apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("NET_ADMIN"))
		},
	})
	hook := inject.New(counting, counting, image)
	raw, err := json.Marshal(webPod("default", asking))
	must(t, err)
	handle := func() admission.Response {
		return hook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		}})
	}
	if response := handle(); response.Allowed || response.Result.Code != http.StatusInternalServerError {
		t.Errorf("while the API server is busy: got %v, want an error that is not final", response.Result)
	}
	for range 10 {
		if response := handle(); !response.Allowed {
			t.Errorf("refused: %v", response.Result)
		}
	}
	if asked != 2 {
		t.Errorf("the namespace was asked %d times, want twice: once in vain", asked)
	}
}

// OpenShift, for one, has rights of service accounts decide what pods may.
func TestWhatIsAdmittedForOneServiceAccountIsNotTakenForAnothers(t *testing.T) {
	policy := webPolicy("default", "web")
	byAccount := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(policy).Build(), interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, object client.Object, _ ...client.CreateOption) error {
			if object.(*corev1.Pod).Spec.ServiceAccountName == "trusted" {
				return nil
			}
			return apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("NET_ADMIN"))
		},
	})
	hook := inject.New(byAccount, byAccount, image)
	for account, redirected := range map[string]bool{"trusted": true, "plain": false} {
		pod := webPod("default", asking)
		pod.Spec.ServiceAccountName = account
		raw, err := json.Marshal(pod)
		must(t, err)
		response := hook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		}})
		if got := strings.Contains(fmt.Sprint(response.Patches), "latchkey-redirect"); !response.Allowed || got != redirected {
			t.Errorf("%s: got callers redirected: %v, want %v", account, got, redirected)
		}
	}
}

// A quota that is used up says nothing about the redirector, and in a moment there may be room: for a pod that would then be made for an app on 127.0.0.1.
func TestAQuotaThatIsUsedUpDoesNotDecideHowCallersGetToThePod(t *testing.T) {
	answers := []error{
		apierrors.NewForbidden(corev1.Resource("pods"), "asks", errors.New("status unknown for quota: pods, resources: pods")),
		apierrors.NewForbidden(corev1.Resource("pods"), "asks", errors.New("exceeded quota: pods, requested: pods=1, used: pods=1, limited: pods=1")),
		nil,
	}
	policy := webPolicy("default", "web")
	full := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(policy).Build(), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			answer := answers[0]
			answers = answers[1:]
			return answer
		},
	})
	hook := inject.New(full, full, image)
	raw, err := json.Marshal(webPod("default", asking))
	must(t, err)
	for _, admitted := range []bool{false, false, true} {
		response := hook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		}})
		if !admitted && (response.Allowed || response.Result.Code != http.StatusInternalServerError || !strings.Contains(response.Result.Message, "quota")) {
			t.Errorf("got %v, want an error that is not final and has the quota's word", response.Result)
		}
		if admitted && !strings.Contains(fmt.Sprint(response.Patches), "latchkey-redirect") {
			t.Errorf("got %v, want a pod whose callers are redirected", response.Patches)
		}
	}
}

func TestAnInjectedPodFitsTheStrictestPodSecurityStandard(t *testing.T) {
	c, _ := serve(t)
	namespace := newNamespace(t, c, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	low := webPolicy(namespace, "web")
	low.Spec.Ports = []int32{80}
	must(t, c.Create(t.Context(), low))
	pod := webPod(namespace, asking)
	if err := c.Create(t.Context(), pod); err != nil {
		t.Error(err)
	}
}

func TestWithoutTheWebhookOnlyPodsThatAskForTheSidecarAreRefused(t *testing.T) {
	c, stop := serve(t)
	plain, optedIn := newNamespace(t, c, nil), newNamespace(t, c, asking)
	stop()

	cases := []struct {
		name    string
		pod     *corev1.Pod
		refused bool
	}{
		{name: "a pod that asks", pod: webPod(plain, asking), refused: true},
		{name: "a pod whose namespace asks", pod: webPod(optedIn, nil), refused: true},
		{name: "a pod whose label is misspelt", pod: webPod(plain, optIn("yes")), refused: true},
		{name: "a pod that does not ask", pod: webPod(plain, nil)},
		{name: "a pod that declines", pod: webPod(optedIn, optIn(v1alpha1.LabelInjectDisabled))},
		{name: "a pod of kube-system, whatever it asks", pod: webPod("kube-system", asking)},
		{name: "a pod of Latchkey's own namespace, whatever it asks", pod: webPod(system, asking)},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			err := c.Create(t.Context(), test.pod)
			if !test.refused {
				must(t, err)
				if len(test.pod.Spec.InitContainers) != 0 {
					t.Error("the pod has changed")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "inject.latchkey.dev") {
				t.Errorf("got %v, want a refusal that names the webhook", err)
			}
		})
	}
}

func TestTheWebhookIsTrustedAgainAfterItsConfigurationWasReplaced(t *testing.T) {
	c, _ := serve(t)
	eventually(t, func(ctx context.Context) error {
		var configuration admissionregistrationv1.MutatingWebhookConfiguration
		if err := c.Get(ctx, client.ObjectKey{Name: serving.Configuration}, &configuration); err != nil {
			return err
		}
		for i := range configuration.Webhooks {
			configuration.Webhooks[i].ClientConfig.CABundle = nil
		}
		return c.Update(ctx, &configuration)
	})
	eventually(t, func(ctx context.Context) error {
		var configuration admissionregistrationv1.MutatingWebhookConfiguration
		if err := c.Get(ctx, client.ObjectKey{Name: serving.Configuration}, &configuration); err != nil {
			return err
		}
		for _, webhook := range configuration.Webhooks {
			if len(webhook.ClientConfig.CABundle) == 0 {
				return fmt.Errorf("%s has no caBundle", webhook.Name)
			}
		}
		return nil
	})
}

func optIn(value string) map[string]string {
	if value == "" {
		return nil
	}
	return map[string]string{v1alpha1.LabelInject: value}
}

func newNamespace(t *testing.T, c client.Client, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "inject-", Labels: labels}}
	must(t, c.Create(t.Context(), namespace))
	return namespace.Name
}

func webPolicy(namespace, name string) *v1alpha1.AuthPolicy {
	return &v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.AuthPolicySpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Ports:    []int32{8080},
			Rules:    []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}},
		},
	}
}

// webPod is a pod of namespace that a policy may select, with labels on top. It meets the restricted Pod Security Standard.
func webPod(namespace string, labels map[string]string) *corev1.Pod {
	no, yes := false, true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "web-", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "example.com/web:1",
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}}},
			SecurityContext: &corev1.SecurityContext{
				RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
				Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		}}},
	}
	for key, value := range labels {
		pod.Labels[key] = value
	}
	return pod
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually tries until there is no error.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %v", patience, last)
	}
}
