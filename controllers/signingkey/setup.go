package signingkey

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/watched"
)

// Setup registers the controller. Of Secrets it watches the metadata alone: their content is read when it is needed.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("signingkey").
		For(&v1alpha1.SigningKey{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&corev1.ConfigMap{}, builder.WithPredicates(watched.AfterStart)).
		Owns(&corev1.Secret{}, builder.OnlyMetadata, builder.WithPredicates(watched.AfterStart)).
		Watches(&v1alpha1.AuthPolicy{}, handler.EnqueueRequestsFromMapFunc(keysOfPolicy), builder.WithPredicates(predicate.Funcs{UpdateFunc: refersElsewhere}, watched.AfterStart)).
		Watches(&v1alpha1.TokenIssuer{}, handler.EnqueueRequestsFromMapFunc(keysOfIssuer), builder.WithPredicates(predicate.GenerationChangedPredicate{}, watched.AfterStart)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.keysOfNamespace), builder.OnlyMetadata,
			builder.WithPredicates(predicate.Funcs{UpdateFunc: namespaceChanged}, watched.AfterStart)).
		// Making an RSA key takes seconds, and so does asking pods that do not answer; other keys do not wait for it.
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(r)
}

// keysOfPolicy are the SigningKeys that a policy refers to, or referred to before the change.
func keysOfPolicy(_ context.Context, object client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, issuer := range object.(*v1alpha1.AuthPolicy).Spec.Issuers {
		if ref := issuer.Keys.SigningKeyRef; ref != nil {
			requests = append(requests, named(ref.In(object.GetNamespace()), ref.Name))
		}
	}
	return requests
}

// refersElsewhere says whether a policy refers to other keys than before. Nothing else that it says matters to any.
func refersElsewhere(change event.UpdateEvent) bool {
	return !slices.EqualFunc(change.ObjectOld.(*v1alpha1.AuthPolicy).Spec.Issuers, change.ObjectNew.(*v1alpha1.AuthPolicy).Spec.Issuers,
		func(a, b v1alpha1.PolicyIssuer) bool { return equality.Semantic.DeepEqual(a.Keys, b.Keys) })
}

func keysOfIssuer(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{named(object.GetNamespace(), object.(*v1alpha1.TokenIssuer).Spec.SigningKeyRef.Name)}
}

// keysOfNamespace: its own SigningKeys, which are let go when it goes, and all that choose by labels who may refer to them.
func (r *Reconciler) keysOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	var keys v1alpha1.SigningKeyList
	if r.Client.List(ctx, &keys) != nil {
		return nil // the cache is gone: the manager is stopping
	}
	var requests []reconcile.Request
	for i := range keys.Items {
		if key := &keys.Items[i]; key.Namespace == namespace.GetName() || key.Spec.AllowedNamespaces.From == v1alpha1.FromSelector {
			requests = append(requests, named(key.Namespace, key.Name))
		}
	}
	return requests
}

func namespaceChanged(change event.UpdateEvent) bool {
	return !maps.Equal(change.ObjectOld.GetLabels(), change.ObjectNew.GetLabels()) ||
		change.ObjectOld.GetDeletionTimestamp().IsZero() != change.ObjectNew.GetDeletionTimestamp().IsZero()
}

func named(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}
}
