package coverage_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/coverage"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestMain(m *testing.M) { controllertest.Main(m) }

var (
	ctx    = context.Background()
	asking = map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled}
)

func namespace(t *testing.T, c client.Client, labels map[string]string) string {
	t.Helper()
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "coverage-", Labels: labels}}
	if err := c.Create(ctx, made); err != nil {
		t.Fatal(err)
	}
	return made.Name
}

func pod(t *testing.T, c client.Client, namespace, name string, labels map[string]string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	made := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: maps.Clone(labels)}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false),
	}}
	if err := c.Create(ctx, made); err != nil {
		t.Fatal(err)
	}
	made.Status.Phase = phase
	if err := c.Status().Update(ctx, made); err != nil {
		t.Fatal(err)
	}
	return made
}

func TestPodsAreFoundThatTheWebhookWouldHaveBeenAskedAbout(t *testing.T) {
	c, wire := controllertest.Client(t, controllertest.Config())
	plain, optedIn, own := namespace(t, c, nil), namespace(t, c, asking), namespace(t, c, asking)
	declined := namespace(t, c, map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectDisabled})
	sidecar := map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled}
	disabled := map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectDisabled}
	for _, p := range []struct {
		namespace, name string
		labels          map[string]string
		phase           corev1.PodPhase
	}{
		{plain, "asks", asking, corev1.PodRunning},
		{plain, "asks-misspelt", map[string]string{v1alpha1.LabelInject: "on"}, corev1.PodPending},
		{plain, "silent", nil, corev1.PodRunning},
		{plain, "has-it", sidecar, corev1.PodRunning},
		{plain, "has-ended", asking, corev1.PodSucceeded},
		{optedIn, "asks", asking, corev1.PodRunning},
		{optedIn, "silent", nil, corev1.PodRunning},
		{optedIn, "declines", disabled, corev1.PodRunning},
		{optedIn, "has-failed", nil, corev1.PodFailed},
		{optedIn, "serves", map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodIssuer}, corev1.PodRunning},
		{declined, "silent", nil, corev1.PodRunning},
		{own, "manager", nil, corev1.PodRunning},
		{"kube-system", "asks", asking, corev1.PodRunning},
	} {
		pod(t, c, p.namespace, p.name, p.labels, p.phase)
	}
	told := events.NewFakeRecorder(100)
	finder := &coverage.Finder{Namespaces: c, Pods: c, Own: own, Events: told}
	var changed []string
	finder.OnChange(func(namespace string) { changed = append(changed, namespace) })
	if _, looked := finder.In(plain); looked {
		t.Error("got that somebody has looked, before anybody did")
	}
	wire.Writes()
	look := func() {
		t.Helper()
		changed = nil
		if err := finder.Look(ctx); err != nil {
			t.Fatal(err)
		}
	}
	look()
	for ns, want := range map[string][]string{
		plain: {"asks", "asks-misspelt"}, optedIn: {"asks", "silent"}, declined: nil, own: nil, "kube-system": nil,
	} {
		if diff := cmp.Diff(names(finder, ns), want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", ns, diff)
		}
	}
	if diff := cmp.Diff(changed, []string{""}); diff != "" {
		t.Errorf("after the first look, all may have changed (-got +want):\n%s", diff)
	}
	if got, want := len(told.Events), 4; got != want {
		t.Errorf("got %d events, want %d", got, want)
	}

	look()
	if len(changed) != 0 || len(told.Events) != 4 {
		t.Errorf("nothing has changed: got %v and %d events", changed, len(told.Events))
	}
	if writes := wire.Writes(); len(writes) != 0 {
		t.Errorf("got writes %v, want none", writes)
	}

	gone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: optedIn, Name: "silent"}}
	if err := c.Delete(ctx, gone, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	look()
	if diff := cmp.Diff(changed, []string{optedIn}); diff != "" {
		t.Errorf("namespaces that have changed (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(names(finder, optedIn), []string{"asks"}); diff != "" {
		t.Errorf("pods (-got +want):\n%s", diff)
	}
}

func names(finder *coverage.Finder, namespace string) []string {
	pods, _ := finder.In(namespace)
	var names []string
	for i := range pods {
		names = append(names, pods[i].Name)
	}
	slices.Sort(names)
	return names
}
