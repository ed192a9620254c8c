//go:build e2e

package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The webhook fails closed while its configuration is there. When that is gone, the API server itself refuses pods that ask for the sidecar, and no others.
func TestAPodThatAsksForTheSidecarIsRefusedThoughTheWebhookIsGone(t *testing.T) {
	if installed == "" {
		install(t, "config")
	}
	const namespace = "webhook-gone"
	anyapp(t, namespace, "privileged", "")
	eventually(t, func(ctx context.Context) error { return comesWithSidecar(ctx, namespace, nil) })

	var webhook admissionregistrationv1.MutatingWebhookConfiguration
	must(t, kube.Get(t.Context(), client.ObjectKey{Name: "latchkey"}, &webhook))
	must(t, kube.Delete(t.Context(), webhook.DeepCopy()))
	webhook.ObjectMeta = metav1.ObjectMeta{Name: webhook.Name, Labels: webhook.Labels, Annotations: webhook.Annotations}
	back := false
	t.Cleanup(func() {
		if !back {
			_ = kube.Create(context.Background(), &webhook)
		}
	})
	refused := func(namespace string, labels map[string]string) {
		t.Helper()
		eventually(t, func(ctx context.Context) error { // the API server knows of it in a moment
			err := comesWithSidecar(ctx, namespace, labels)
			switch {
			case err == nil:
				return errors.New("the pod comes with the sidecar: the webhook is still asked")
			case strings.Contains(err.Error(), "comes without: the webhook was not asked"):
				return nil
			}
			return err
		})
	}
	refused(namespace, nil)
	refused("default", map[string]string{"auth.latchkey.dev/inject": "enabled"})
	for namespace, labels := range map[string]map[string]string{"default": nil, namespace: {"auth.latchkey.dev/inject": "disabled"}} {
		if err := comesWithSidecar(t.Context(), namespace, labels); !errors.Is(err, errNoSidecar) {
			t.Errorf("a pod in namespace %s with the labels %v: got %v, want it let in as it is", namespace, labels, err)
		}
	}

	must(t, kube.Create(t.Context(), &webhook))
	back = true
	eventually(t, func(ctx context.Context) error { return comesWithSidecar(ctx, namespace, nil) })
}

var errNoSidecar = errors.New("the pod is let in without the sidecar")

// comesWithSidecar asks what would become of a pod.
func comesWithSidecar(ctx context.Context, namespace string, labels map[string]string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "asks", Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/latchkey-dev/anyapp:dev"}}},
	}
	if err := kube.Create(ctx, pod, client.DryRunAll); err != nil {
		return err
	}
	if !slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == sidecar }) {
		return errNoSidecar
	}
	return nil
}
