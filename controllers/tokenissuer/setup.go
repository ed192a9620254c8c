package tokenissuer

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/watched"
)

const (
	bySigningKey = "tokenissuer/signingKey"
	bySecret     = "tokenissuer/secret"
)

// Setup registers the controller. Its watches name everything that a verdict depends on.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	indexes := map[string]func(*v1alpha1.TokenIssuer) []string{
		bySigningKey: func(issuer *v1alpha1.TokenIssuer) []string { return []string{issuer.Spec.SigningKeyRef.Name} },
		bySecret: func(issuer *v1alpha1.TokenIssuer) (names []string) {
			for _, ref := range secretsOf(issuer) {
				names = append(names, ref.name)
			}
			return names
		},
	}
	for field, values := range indexes {
		index := func(object client.Object) []string { return values(object.(*v1alpha1.TokenIssuer)) }
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.TokenIssuer{}, field, index); err != nil {
			return err
		}
	}
	later := builder.WithPredicates(watched.AfterStart)
	return ctrl.NewControllerManagedBy(mgr).
		Named("tokenissuer").
		For(&v1alpha1.TokenIssuer{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&corev1.ConfigMap{}, later).
		Owns(&corev1.PersistentVolumeClaim{}, later).
		Owns(&corev1.Service{}, later).
		Owns(&appsv1.Deployment{}, later).
		Owns(&networkingv1.NetworkPolicy{}, later).
		Owns(&policyv1.PodDisruptionBudget{}, later).
		Owns(&corev1.Secret{}, builder.OnlyMetadata, later).
		Watches(&corev1.Secret{}, r.issuersWith(bySecret), builder.OnlyMetadata, later).
		Watches(&v1alpha1.SigningKey{}, r.issuersWith(bySigningKey), later).
		Complete(r)
}

// issuersWith wakes the TokenIssuers that refer to an object, by the index of that kind of reference.
func (r *Reconciler) issuersWith(field string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var issuers v1alpha1.TokenIssuerList
		err := r.Client.List(ctx, &issuers, client.InNamespace(object.GetNamespace()), client.MatchingFields{field: object.GetName()})
		if err != nil { // the cache is gone: the manager is stopping
			return nil
		}
		requests := make([]reconcile.Request, len(issuers.Items))
		for i := range issuers.Items {
			requests[i].NamespacedName = client.ObjectKeyFromObject(&issuers.Items[i])
		}
		return requests
	})
}
