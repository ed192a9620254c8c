package signingkey

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// hold keeps a SigningKey from going away while somebody refers to it, by a finalizer that is there just as long. It reports whether the keys are to
// be kept: also while the deletion waits, for then all that depends on them goes on.
func (r *Reconciler) hold(ctx context.Context, key *v1alpha1.SigningKey, refs references) (kept bool, err error) {
	held, deleting := controllerutil.ContainsFinalizer(key, v1alpha1.FinalizerInUse), !key.DeletionTimestamp.IsZero()
	if held == refs.any() || deleting && !held { // it is too late to add one
		return !deleting || held, nil
	}
	before := key.DeepCopy()
	if held {
		controllerutil.RemoveFinalizer(key, v1alpha1.FinalizerInUse)
	} else {
		controllerutil.AddFinalizer(key, v1alpha1.FinalizerInUse)
	}
	// Conditional: finalizers are one list, and somebody else may have changed it.
	err = r.Client.Patch(ctx, key, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("change the finalizers: %w", err)
	}
	return !deleting, nil
}
