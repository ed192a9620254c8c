package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// SharedWith says whether AuthPolicies of a namespace, by its name and labels, may refer to the key. A selector that cannot be understood
// selects nothing: it is the owner of the key who is told.
func (k *SigningKey) SharedWith(namespace string, set map[string]string) bool {
	if namespace == k.Namespace {
		return true
	}
	switch allowed := k.Spec.AllowedNamespaces; allowed.From {
	case FromAll:
		return true
	case FromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Selector) // nil selects nothing
		return err == nil && selector.Matches(labels.Set(set))
	default:
		return false
	}
}

// Names says whether an AuthPolicy of a namespace refers to the key by the reference.
func (r *SigningKeyRef) Names(namespace string, key *SigningKey) bool {
	return r != nil && r.Name == key.Name && r.In(namespace) == key.Namespace
}

// In returns the namespace that the reference leads to from another.
func (r *SigningKeyRef) In(namespace string) string {
	if r.Namespace != "" {
		return r.Namespace
	}
	return namespace
}
