package serving

import (
	"bytes"
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Configuration is the name of the MutatingWebhookConfiguration whose caBundle is kept.
const Configuration = "latchkey"

// Cache limits what the manager keeps in memory, and what it must be allowed to list, to that one object.
func Cache() cache.ByObject {
	return cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", Configuration)}
}

// Setup keeps the API server's trust in the authority, and in those beside it: whenever the webhook's configuration is applied anew, its caBundle is put back. Only
// the leader does, so that two replicas never undo each other's writes.
func Setup(mgr ctrl.Manager, ca *pki.CA) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("webhook-trust").
		For(&admissionregistrationv1.MutatingWebhookConfiguration{}).
		Complete(&keeper{client: mgr.GetClient(), bundle: ca.TrustPEM()})
	if err != nil {
		return fmt.Errorf("keep the webhook trusted: %w", err)
	}
	return nil
}

type keeper struct {
	client client.Client
	bundle []byte
}

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations,resourceNames=latchkey,verbs=get;list;watch;patch

// Reconcile puts the authority's certificate where it is missing.
func (k *keeper) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := k.client.Get(ctx, request.NamespacedName, &configuration); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // it is looked at again when it is applied
	}
	trusted := configuration.DeepCopy()
	changed := false
	for i := range trusted.Webhooks {
		if target := &trusted.Webhooks[i].ClientConfig; !bytes.Equal(target.CABundle, k.bundle) {
			target.CABundle, changed = k.bundle, true
		}
	}
	if !changed {
		return ctrl.Result{}, nil
	}
	// Webhooks are merged by name, so a list that somebody changes at the same time keeps its order and its other fields.
	if err := k.client.Patch(ctx, trusted, client.StrategicMergeFrom(&configuration)); err != nil {
		return ctrl.Result{}, fmt.Errorf("write caBundle: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("the API server now trusts the webhook")
	return ctrl.Result{}, nil
}
