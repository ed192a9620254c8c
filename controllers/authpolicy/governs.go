package authpolicy

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

// governed are the pods that have the policy's sidecar. Pods that only carry its labels are not among those that the cache passes on as
// pods with a sidecar.
func governed(policy *v1alpha1.AuthPolicy, pods []corev1.Pod) []*corev1.Pod {
	var found []*corev1.Pod
	for i := range pods {
		if alive(&pods[i]) && pods[i].Labels[v1alpha1.LabelPolicy] == policy.Name {
			found = append(found, &pods[i])
		}
	}
	return found
}

// interception says how callers of the policy's pods get to the sidecar, and what the app has to do for that; nil: there are no pods.
func interception(policy *v1alpha1.AuthPolicy, pods []corev1.Pod) *problem {
	counts := map[v1alpha1.Interception]int{}
	for i := range pods {
		if alive(&pods[i]) && pods[i].Labels[v1alpha1.LabelPolicy] == policy.Name {
			counts[inject.Interception(&pods[i])]++
		}
	}
	redirected, taken := counts[v1alpha1.InterceptionRedirect], counts[v1alpha1.InterceptionLoopback]
	switch {
	case redirected+taken == 0:
		return nil
	case taken == 0:
		return &problem{v1alpha1.ReasonRedirected, "the kernel of each pod brings callers to the sidecar: the app may listen where it likes"}
	}
	var ports []string
	for _, port := range policy.Spec.Ports {
		ports = append(ports, strconv.Itoa(int(port)))
	}
	return &problem{v1alpha1.ReasonLoopbackOnly, fmt.Sprintf("in %d of %d pods the sidecar takes the app's ports: there the app must listen on 127.0.0.1 or ::1, "+
		"on %s; one that listens on a wildcard address fails to start", taken, redirected+taken, strings.Join(ports, ", "))}
}

func alive(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// overshadowing returns the oldest of the policies that take pods from this one: that have the same selector, or select a pod that
// this one selects too; nil when there is none.
func overshadowing(policy *v1alpha1.AuthPolicy, siblings []v1alpha1.AuthPolicy, pods []corev1.Pod) *v1alpha1.AuthPolicy {
	var oldest *v1alpha1.AuthPolicy
	for i := range siblings {
		other := &siblings[i]
		if !other.Precedes(policy) || !other.DeletionTimestamp.IsZero() || !overlap(other, policy, pods) {
			continue
		}
		if oldest == nil || other.Precedes(oldest) {
			oldest = other
		}
	}
	return oldest
}

// mayBeOvershadowed says whether it takes a look at pods to tell if an older policy takes some from this one.
func mayBeOvershadowed(policy *v1alpha1.AuthPolicy, siblings []v1alpha1.AuthPolicy) bool {
	for i := range siblings {
		if other := &siblings[i]; other.Precedes(policy) && other.DeletionTimestamp.IsZero() && !disjoint(other, policy) {
			return true
		}
	}
	return false
}

// disjoint says whether no pod can be selected by both, since they ask for other values of one label.
func disjoint(a, b *v1alpha1.AuthPolicy) bool {
	for name, value := range a.Spec.Selector.MatchLabels {
		if other, both := b.Spec.Selector.MatchLabels[name]; both && other != value {
			return true
		}
	}
	return false
}

func overlap(a, b *v1alpha1.AuthPolicy, pods []corev1.Pod) bool {
	if equality.Semantic.DeepEqual(a.Spec.Selector, b.Spec.Selector) {
		return true
	}
	if disjoint(a, b) {
		return false
	}
	selectsA, selectsB := selector(a), selector(b)
	for i := range pods {
		set := labels.Set(pods[i].Labels)
		if alive(&pods[i]) && selectsA.Matches(set) && selectsB.Matches(set) {
			return true
		}
	}
	return false
}

// selector is a policy's selector. One that cannot be understood selects nothing; its own policy says that it is invalid.
func selector(policy *v1alpha1.AuthPolicy) labels.Selector {
	parsed, err := metav1.LabelSelectorAsSelector(&policy.Spec.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return parsed
}
