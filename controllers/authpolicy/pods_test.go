package authpolicy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

// open makes a policy that selects pods by a label, or all.
func (b *bench) open(name string, match map[string]string) {
	b.Helper()
	b.create(&v1alpha1.AuthPolicy{ObjectMeta: b.named(name), Spec: v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: match}, Ports: []int32{8080}, Rules: []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}},
	}})
}

// bareNamed makes a pod without a sidecar.
func (b *bench) bareNamed(name string, labels map[string]string) *corev1.Pod {
	b.Helper()
	pod := &corev1.Pod{ObjectMeta: b.named(name), Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false),
	}}
	pod.Labels = labels
	b.create(pod)
	return pod
}

func (b *bench) condition(policy, conditionType string) string {
	b.Helper()
	condition := meta.FindStatusCondition(b.policy(policy).Status.Conditions, conditionType)
	if condition == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s: %s", condition.Status, condition.Reason, condition.Message)
}

func TestPodsThatAskForTheSidecarAndRunWithoutItAreReportedByThePolicyThatWouldGovernThem(t *testing.T) {
	b := newBench(t)
	b.open("web", map[string]string{"app": "web"})
	asking := func(app string) map[string]string {
		return map[string]string{"app": app, v1alpha1.LabelInject: "enabled"}
	}
	b.bareNamed("db", asking("db"))
	b.reconcile("web")
	if got, want := b.condition("web", "PodsProtected"), "none"; got != want {
		t.Errorf("before anybody has looked: got %s, want %s", got, want)
	}

	var pods []*corev1.Pod
	for i := range 12 {
		pods = append(pods, b.bareNamed(fmt.Sprintf("web-%02d", i), asking("web")))
	}
	b.must(b.bare.Look(ctx))
	b.reconcile("web")
	names := "web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07, web-08, web-09 and 2 more"
	want := "False SidecarMissing: 12 that ask for the sidecar were made without it, and are not protected: " + names + "; delete them to have them made anew"
	if got := b.condition("web", "PodsProtected"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := b.policy("web").Status.PodsMissing, int32(12); got != want {
		t.Errorf("got %d pods missing, want %d", got, want)
	}
	b.wire.Writes()
	b.must(b.bare.Look(ctx))
	b.reconcile("web")
	if writes := b.wire.Writes(); len(writes) != 0 {
		t.Errorf("nothing has changed: got writes %v", writes)
	}

	for _, pod := range pods {
		b.must(b.client.Delete(ctx, pod, client.GracePeriodSeconds(0)))
	}
	b.must(b.bare.Look(ctx))
	b.reconcile("web")
	if got, want := b.condition("web", "PodsProtected"), "True Protected: no pod that asks for the sidecar is without"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var told []string
	for range len(b.events.Events) {
		if event := <-b.events.Events; strings.Contains(event, "Protected") || strings.Contains(event, "Missing") {
			told = append(told, strings.Fields(event)[1])
		}
	}
	if diff := cmp.Diff(told, []string{"SidecarMissing", "Protected"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
}

func TestSidecarsOfAnotherVersionThanTheManagersAreReported(t *testing.T) {
	b := newBench(t) // its manager puts in registry.example/latchkey-sidecar:2
	b.open("p", nil)
	digest := "@sha256:" + strings.Repeat("0", 64)
	var want []string
	for i, test := range []struct {
		image string
		other bool
	}{
		{image: "registry.example/latchkey-sidecar:2"},
		{image: "mirror.example:5000/copies/latchkey-sidecar:2"},
		{image: "registry.example/latchkey-sidecar:2" + digest},
		{image: "registry.example/latchkey-sidecar" + digest}, // pinned by somebody else's webhook: nobody can tell
		{image: "registry.example/latchkey-sidecar:1", other: true},
		{image: "mirror.example:5000/copies/latchkey-sidecar:3", other: true},
		{image: "registry.example/latchkey-sidecar:1" + digest, other: true},
	} {
		pod, err := inject.Pod(&corev1.Pod{ObjectMeta: b.named(fmt.Sprintf("pod-%d", i)), Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}}, AutomountServiceAccountToken: ptr.To(false),
		}}, inject.Sidecar{Image: test.image, Policy: "p", Ports: []int32{8080}})
		b.must(err)
		b.create(pod)
		if test.other {
			want = append(want, pod.Name)
		}
	}
	b.reconcile("p")
	message := "False SidecarOutdated: 3 have a sidecar of another version than the manager's: " + strings.Join(slices.Sorted(slices.Values(want)), ", ") +
		"; restart their workloads to bring them this one"
	if got := b.condition("p", "SidecarsCurrent"); got != message {
		t.Errorf("got %s, want %s", got, message)
	}
	if got, want := b.policy("p").Status.PodsOutdated, int32(3); got != want {
		t.Errorf("got %d outdated, want %d", got, want)
	}
	if got, want := b.policy("p").Status.PodsBehind, int32(7); got != want { // none of them runs
		t.Errorf("got %d behind, want %d", got, want)
	}
}
