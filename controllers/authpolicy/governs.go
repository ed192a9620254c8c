package authpolicy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
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

func overlap(a, b *v1alpha1.AuthPolicy, pods []corev1.Pod) bool {
	if equality.Semantic.DeepEqual(a.Spec.Selector, b.Spec.Selector) {
		return true
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
