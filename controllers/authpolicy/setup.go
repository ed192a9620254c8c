package authpolicy

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Setup registers the controller. Its watches name everything that a bundle or a status depends on.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named("authpolicy").
		For(&v1alpha1.AuthPolicy{}, changed).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Secret{}, builder.OnlyMetadata).
		Watches(&v1alpha1.AuthPolicy{}, r.wake(everyPolicy), changed).
		Watches(&v1alpha1.TokenIssuer{}, r.wake(everyPolicy), changed).
		Watches(&v1alpha1.SigningKey{}, r.wakeAnywhere(mayUseSigningKey), changed).
		Watches(&corev1.Service{}, r.wake(everyPolicy), belongsTo("TokenIssuer")).
		Watches(&corev1.ConfigMap{}, r.wakeAnywhere(mayUseSigningKey), belongsTo("SigningKey")).
		Watches(&corev1.Secret{}, r.wakeAnywhere(mayUseSigningKey), belongsTo("SigningKey"), builder.OnlyMetadata).
		Watches(&corev1.Secret{}, r.wake(everyPolicy), belongsTo("TokenIssuer"), builder.OnlyMetadata).
		Watches(&corev1.Namespace{}, r.wakeAnywhere(inNamespace), builder.OnlyMetadata, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(ctrlsource.Channel(r.Foreign.Changed(), &handler.EnqueueRequestForObject{})).
		WatchesRawSource(ctrlsource.Func(r.podsSay)).
		Watches(&corev1.Secret{}, r.wake(showingCertificate), builder.OnlyMetadata).
		Watches(&corev1.Pod{}, r.wake(selectorsOfPod), builder.WithPredicates(predicate.NewPredicateFuncs(hasSidecar))).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// concerns returns what tells whether a policy depends on an object.
type concerns func(object client.Object) func(*v1alpha1.AuthPolicy) bool

// wake reconciles the policies of an object's namespace that it concerns.
func (r *Reconciler) wake(concern concerns) handler.EventHandler {
	return r.wakeThose(concern, client.Object.GetNamespace)
}

// wakeAnywhere reconciles the policies of all namespaces that an object concerns.
func (r *Reconciler) wakeAnywhere(concern concerns) handler.EventHandler {
	return r.wakeThose(concern, func(client.Object) string { return metav1.NamespaceAll })
}

func (r *Reconciler) wakeThose(concern concerns, namespace func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var policies v1alpha1.AuthPolicyList
		if r.Client.List(ctx, &policies, client.InNamespace(namespace(object))) != nil {
			return nil // the cache is gone: the manager is stopping
		}
		concerned := concern(object)
		var requests []reconcile.Request
		for i := range policies.Items {
			if concerned(&policies.Items[i]) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&policies.Items[i])})
			}
		}
		return requests
	})
}

// everyPolicy: a policy that comes, goes or changes may take pods from any other, or give them back. And the bundle of a policy that cannot be
// rendered goes on with keys that its spec may not name any more, so whoever refers to what cannot be told from the policies.
func everyPolicy(client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(*v1alpha1.AuthPolicy) bool { return true }
}

// mayUseSigningKey: every policy of a SigningKey's namespace, as ever, and those of other namespaces that may have keys from this one in
// their bundles. Object is the SigningKey, or what it has published.
func mayUseSigningKey(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Namespace == object.GetNamespace() || reachesOut(policy, func(namespace string) bool { return namespace == object.GetNamespace() })
	}
}

// inNamespace: a namespace's labels decide what its policies may refer to.
func inNamespace(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Namespace == object.GetName() && reachesOut(policy, func(namespace string) bool { return namespace != object.GetName() })
	}
}

// reachesOut says whether a policy's bundle may hold keys of a namespace: it refers to one there, or it cannot be rendered, or nobody has
// tried yet, and goes on with keys of which its spec may say nothing any more.
func reachesOut(policy *v1alpha1.AuthPolicy, into func(namespace string) bool) bool {
	accepted := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted == nil || accepted.Status != metav1.ConditionTrue || accepted.ObservedGeneration != policy.Generation {
		return true
	}
	return slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
		ref := issuer.Keys.SigningKeyRef
		return ref != nil && into(ref.In(policy.Namespace))
	})
}

// showingCertificate: the policies that name a Secret.
func showingCertificate(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Spec.TLS != nil && policy.Spec.TLS.SecretName == object.GetName()
	}
}

// belongsTo passes objects that one of a kind of ours controls.
func belongsTo(kind string) builder.Predicates {
	return builder.WithPredicates(predicate.NewPredicateFuncs(func(object client.Object) bool {
		owner := metav1.GetControllerOf(object)
		return owner != nil && owner.Kind == kind
	}))
}

// selectorsOfPod: the policy that governs the pod, and those that select it as well.
func selectorsOfPod(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	set := labels.Set(object.GetLabels())
	return func(policy *v1alpha1.AuthPolicy) bool {
		return set[v1alpha1.LabelPolicy] == policy.Name || selector(policy).Matches(set)
	}
}

func hasSidecar(object client.Object) bool {
	return object.GetLabels()[v1alpha1.LabelPod] == v1alpha1.LabelPodSidecar
}
