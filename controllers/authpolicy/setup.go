package authpolicy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
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
		Watches(&v1alpha1.SigningKey{}, r.wake(everyPolicy), changed).
		Watches(&corev1.Service{}, r.wake(everyPolicy), belongsTo("TokenIssuer")).
		Watches(&corev1.ConfigMap{}, r.wake(everyPolicy), belongsTo("SigningKey")).
		Watches(&corev1.Secret{}, r.wake(everyPolicy), belongsTo("SigningKey"), builder.OnlyMetadata).
		WatchesRawSource(ctrlsource.Channel(r.Foreign.Changed(), &handler.EnqueueRequestForObject{})).
		Watches(&corev1.Pod{}, r.wake(selectorsOfPod), builder.WithPredicates(predicate.NewPredicateFuncs(hasSidecar))).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// concerns returns what tells whether a policy depends on an object.
type concerns func(object client.Object) func(*v1alpha1.AuthPolicy) bool

// wake reconciles the policies of an object's namespace that it concerns.
func (r *Reconciler) wake(concern concerns) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var policies v1alpha1.AuthPolicyList
		if r.Client.List(ctx, &policies, client.InNamespace(object.GetNamespace())) != nil {
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
