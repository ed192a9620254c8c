package inject

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Governing returns the policy that governs a pod with these labels: the oldest of those that select it, by name where two are of one
// age; nil when none does. All policies must be of the pod's namespace. A policy that is being deleted governs no new pods, and a selector
// that makes no sense selects none.
func Governing(pod labels.Set, policies []v1alpha1.AuthPolicy) *v1alpha1.AuthPolicy {
	var oldest *v1alpha1.AuthPolicy
	for i := range policies {
		if p := &policies[i]; selects(p, pod) && (oldest == nil || p.Precedes(oldest)) {
			oldest = p
		}
	}
	return oldest
}

func selects(policy *v1alpha1.AuthPolicy, pod labels.Set) bool {
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.Selector)
	return err == nil && policy.DeletionTimestamp.IsZero() && selector.Matches(pod)
}
