package v1alpha1

import "cmp"

// Precedes reports whether this policy comes before another of its namespace: the older one does, and of two of one age the one whose name
// sorts first. Of the policies that select a pod, the first governs it.
func (p *AuthPolicy) Precedes(other *AuthPolicy) bool {
	return cmp.Or(p.CreationTimestamp.Compare(other.CreationTimestamp.Time), cmp.Compare(p.Name, other.Name)) < 0
}
