package signingkey

import (
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Setup registers the controller. Of Secrets it watches the metadata alone: their content is read when it is needed.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("signingkey").
		For(&v1alpha1.SigningKey{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Secret{}, builder.OnlyMetadata).
		// Making an RSA key takes seconds, and so does asking pods that do not answer; other keys do not wait for it.
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(r)
}
