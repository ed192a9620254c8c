package signingkey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
)

// references are those who name a SigningKey.
type references struct {
	issuers   []v1alpha1.TokenIssuer
	policies  []string                      // AuthPolicies of its namespace
	elsewhere map[types.NamespacedName]bool // AuthPolicies of other namespaces that may refer to it; whoever may not, counts for nothing
	through   map[string]bool               // AuthPolicies of its namespace that name one of the issuers
	leaving   bool                          // its namespace is being deleted, and whoever is in it
}

func (r *Reconciler) references(ctx context.Context, key *v1alpha1.SigningKey) (references, error) {
	refs := references{elsewhere: map[types.NamespacedName]bool{}, through: map[string]bool{}}
	home, err := r.namespace(ctx, key.Namespace)
	if err != nil {
		return refs, err
	}
	refs.leaving = !home.DeletionTimestamp.IsZero()
	var issuers v1alpha1.TokenIssuerList
	if err := r.Client.List(ctx, &issuers, client.InNamespace(key.Namespace)); err != nil {
		return refs, fmt.Errorf("list the TokenIssuers: %w", err)
	}
	refs.issuers = slices.DeleteFunc(issuers.Items, func(issuer v1alpha1.TokenIssuer) bool { return issuer.Spec.SigningKeyRef.Name != key.Name })
	var policies v1alpha1.AuthPolicyList
	// All of the cluster's are looked at, and none is kept or changed: there is no need for copies.
	if err := r.Client.List(ctx, &policies, client.UnsafeDisableDeepCopy); err != nil {
		return refs, fmt.Errorf("list the AuthPolicies: %w", err)
	}
	for i := range policies.Items {
		if err := r.refer(ctx, key, &policies.Items[i], &refs); err != nil {
			return refs, err
		}
	}
	slices.Sort(refs.policies)
	return refs, nil
}

// refer notes how a policy refers to the key, if it does.
func (r *Reconciler) refer(ctx context.Context, key *v1alpha1.SigningKey, policy *v1alpha1.AuthPolicy, refs *references) error {
	direct := slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
		return issuer.Keys.SigningKeyRef.Names(policy.Namespace, key)
	})
	if policy.Namespace == key.Namespace {
		if direct {
			refs.policies = append(refs.policies, policy.Name)
		}
		refs.through[policy.Name] = slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
			ref := issuer.Keys.TokenIssuerRef
			return ref != nil && slices.ContainsFunc(refs.issuers, func(i v1alpha1.TokenIssuer) bool { return i.Name == ref.Name })
		})
		return nil
	}
	if !direct {
		return nil
	}
	namespace, err := r.namespace(ctx, policy.Namespace)
	if err == nil && key.SharedWith(policy.Namespace, namespace.Labels) {
		refs.elsewhere[client.ObjectKeyFromObject(policy)] = true
	}
	return err
}

// namespace returns the metadata of a namespace; none, for one that is not there.
func (r *Reconciler) namespace(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read the metadata of namespace %q: %w", name, err)
	}
	return namespace, nil
}

// any says whether there are any that a deletion has to wait for.
func (refs references) any() bool {
	return !refs.leaving && len(refs.issuers)+len(refs.policies)+len(refs.elsewhere) > 0
}

// String tells who they are. Those of other namespaces are only counted: their names are none of this one's business.
func (refs references) String() string {
	var all []string
	for i := range refs.issuers {
		all = append(all, fmt.Sprintf("TokenIssuer %q", refs.issuers[i].Name))
	}
	for _, name := range refs.policies {
		all = append(all, fmt.Sprintf("AuthPolicy %q", name))
	}
	if more := len(all) - maxNames; more > 0 {
		all = append(all[:maxNames], fmt.Sprintf("%d more", more))
	}
	if n := len(refs.elsewhere); n > 0 {
		all = append(all, fmt.Sprintf("AuthPolicies of other namespaces (%d)", n))
	}
	return strings.Join(all, ", ")
}

// dependents are the pods that must hold a key before it signs: those with a sidecar whose policy takes tokens of the SigningKey, and those
// of the token services that sign with it. A pod that is not ready gets no requests, and one that starts reads what is current.
func (r *Reconciler) dependents(ctx context.Context, key *v1alpha1.SigningKey, refs references) ([]corev1.Pod, error) {
	namespaces := map[string]bool{key.Namespace: true}
	for policy := range refs.elsewhere {
		namespaces[policy.Namespace] = true
	}
	var depend []corev1.Pod
	for namespace := range namespaces {
		var pods corev1.PodList
		if err := r.Client.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelPod}); err != nil {
			return nil, fmt.Errorf("list the pods: %w", err)
		}
		for i := range pods.Items {
			if pod := &pods.Items[i]; refs.dependOn(key, pod) && applied.Ready(pod) && applied.CanAnswer(pod) {
				depend = append(depend, *pod)
			}
		}
	}
	return depend, nil
}

func (refs references) dependOn(key *v1alpha1.SigningKey, pod *corev1.Pod) bool {
	policy := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelPolicy]}
	switch home := pod.Namespace == key.Namespace; pod.Labels[v1alpha1.LabelPod] {
	case v1alpha1.LabelPodSidecar:
		return refs.elsewhere[policy] || home && (refs.through[policy.Name] || slices.Contains(refs.policies, policy.Name))
	case v1alpha1.LabelPodIssuer:
		return home && slices.ContainsFunc(refs.issuers, func(i v1alpha1.TokenIssuer) bool { return i.Name == pod.Labels[v1alpha1.LabelTokenIssuer] })
	}
	return false
}
