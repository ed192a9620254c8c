package inject_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/internal/inject/serving"
)

// With the webhook's configuration gone, nothing would stop a pod but the ValidatingAdmissionPolicy.
func TestThePolicyRefusesPodsThatAskForTheSidecarAndComeWithout(t *testing.T) {
	_, c := cluster(t)
	plain, optedIn := newNamespace(t, c, nil), newNamespace(t, c, asking)
	must(t, c.Delete(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: serving.Configuration}}))
	eventually(t, func(ctx context.Context) error { // both the removal and the policy take the API server a moment
		err := c.Create(ctx, webPod(plain, asking), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "latchkey-sidecar") {
			return fmt.Errorf("got %w, want the policy's refusal", err)
		}
		return nil
	})

	with := func(change func(*corev1.Pod)) *corev1.Pod {
		injected, err := inject.Pod(webPod(plain, asking), inject.Sidecar{Image: image, Policy: "web", Ports: []int32{8080}, HookSecret: "a5ecretOfTwentySixLetters"})
		must(t, err)
		change(injected)
		return injected
	}
	for _, test := range []struct {
		name    string
		pod     *corev1.Pod
		refused bool
	}{
		{name: "a pod that asks", pod: webPod(plain, asking), refused: true},
		{name: "a pod whose namespace asks", pod: webPod(optedIn, nil), refused: true},
		{name: "a pod whose label is misspelt", pod: webPod(plain, optIn("yes")), refused: true},
		{name: "a pod that says it has one", pod: with(func(p *corev1.Pod) { p.Spec.InitContainers = nil }), refused: true},
		{name: "a pod whose sidecar ends before the app starts", pod: with(func(p *corev1.Pod) {
			c := &p.Spec.InitContainers[0]
			c.RestartPolicy, c.StartupProbe, c.ReadinessProbe, c.Lifecycle = nil, nil, nil, nil
		}), refused: true},
		{name: "a pod whose policy is not recorded", pod: with(func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelPolicy) }), refused: true},
		{name: "a pod whose callers are said to be redirected, and are not", pod: with(func(p *corev1.Pod) {
			p.Annotations = map[string]string{"auth.latchkey.dev/interception": "Redirect"}
		}), refused: true},
		{name: "a pod as the webhook makes it", pod: with(func(*corev1.Pod) {})},
		{name: "a pod as the webhook makes it, from a mirror", pod: with(func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "mirror.example/sidecar:0" })},
		{name: "a pod that does not ask", pod: webPod(plain, nil)},
		{name: "a pod that declines", pod: webPod(optedIn, optIn(v1alpha1.LabelInjectDisabled))},
		{name: "a pod of kube-system, whatever it asks", pod: webPod("kube-system", asking)},
		{name: "a pod of Latchkey's own namespace, whatever it asks", pod: webPod(system, asking)},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.Create(t.Context(), test.pod)
			if !test.refused {
				must(t, err)
				return
			}
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "See whether `kubectl get mutatingwebhookconfiguration latchkey`") {
				t.Errorf("got %v, want a refusal that says what to do", err)
			}
		})
	}
}
