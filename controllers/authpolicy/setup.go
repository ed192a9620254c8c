package authpolicy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

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
		Watches(&v1alpha1.TokenIssuer{}, r.wake(usersOfTokenIssuer), changed).
		Watches(&v1alpha1.SigningKey{}, r.wake(usersOfSigningKey), changed).
		Watches(&corev1.Service{}, r.wake(usersOfTokenIssuer), belongsTo("TokenIssuer")).
		Watches(&corev1.ConfigMap{}, r.wake(usersOfSigningKey), belongsTo("SigningKey")).
		Watches(&corev1.Secret{}, r.wake(usersOfSigningKey), belongsTo("SigningKey"), builder.OnlyMetadata).
		Watches(&corev1.Pod{}, r.wake(selectorsOfPod), builder.WithPredicates(predicate.NewPredicateFuncs(hasSidecar))).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// concerns reports whether a policy depends on an object.
type concerns func(namespace *neighbours, object client.Object) func(*v1alpha1.AuthPolicy) bool

// neighbours are what a namespace holds that policies refer to.
type neighbours struct {
	issuers []v1alpha1.TokenIssuer
}

// wake reconciles the policies of an object's namespace that it concerns.
func (r *Reconciler) wake(concern concerns) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var policies v1alpha1.AuthPolicyList
		var issuers v1alpha1.TokenIssuerList
		if r.Client.List(ctx, &policies, client.InNamespace(object.GetNamespace())) != nil ||
			r.Client.List(ctx, &issuers, client.InNamespace(object.GetNamespace())) != nil {
			return nil // the cache is gone: the manager is stopping
		}
		concerned := concern(&neighbours{issuers: issuers.Items}, object)
		var requests []reconcile.Request
		for i := range policies.Items {
			if concerned(&policies.Items[i]) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&policies.Items[i])})
			}
		}
		return requests
	})
}

// everyPolicy: one that comes, goes or changes may take pods from any other, or give them back.
func everyPolicy(*neighbours, client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(*v1alpha1.AuthPolicy) bool { return true }
}

// usersOfTokenIssuer: those that refer to the TokenIssuer, or to the one that owns the object.
func usersOfTokenIssuer(_ *neighbours, object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return refersTo(sets.New(nameOrOwner(object)), nil)
}

// usersOfSigningKey: those that refer to the SigningKey, or to the one that owns the object, by themselves or through a TokenIssuer.
func usersOfSigningKey(namespace *neighbours, object client.Object) func(*v1alpha1.AuthPolicy) bool {
	key := nameOrOwner(object)
	issuers := sets.New[string]()
	for i := range namespace.issuers {
		if namespace.issuers[i].Spec.SigningKeyRef.Name == key {
			issuers.Insert(namespace.issuers[i].Name)
		}
	}
	return refersTo(issuers, sets.New(key))
}

func refersTo(issuers, keys sets.Set[string]) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		for _, issuer := range policy.Spec.Issuers {
			if ref := issuer.Keys.TokenIssuerRef; ref != nil && issuers.Has(ref.Name) {
				return true
			}
			if ref := issuer.Keys.SigningKeyRef; ref != nil && keys.Has(ref.Name) {
				return true
			}
		}
		return false
	}
}

// nameOrOwner is the name of the object that controls this one, or this one's own if none does.
func nameOrOwner(object client.Object) string {
	if owner := metav1.GetControllerOf(object); owner != nil {
		return owner.Name
	}
	return object.GetName()
}

// belongsTo passes objects that one of a kind of ours controls.
func belongsTo(kind string) builder.Predicates {
	return builder.WithPredicates(predicate.NewPredicateFuncs(func(object client.Object) bool {
		owner := metav1.GetControllerOf(object)
		return owner != nil && owner.Kind == kind
	}))
}

// selectorsOfPod: the policy that governs the pod, and those that select it as well.
func selectorsOfPod(_ *neighbours, object client.Object) func(*v1alpha1.AuthPolicy) bool {
	set := labels.Set(object.GetLabels())
	return func(policy *v1alpha1.AuthPolicy) bool {
		return set[v1alpha1.LabelPolicy] == policy.Name || selector(policy).Matches(set)
	}
}

func hasSidecar(object client.Object) bool { return object.GetLabels()[v1alpha1.LabelPolicy] != "" }
