package owned

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// lookAgain is the pause before a name that is somebody else's is looked at again. What an earlier object of our name has left behind wakes
// us when the garbage collector has removed it; what nobody controls may go without a word.
const lookAgain = 10 * time.Second

// Again is what a Reconcile returns after err. It keeps out of the log what is no fault: somebody was faster, or has deleted what we were about to write, so we observe and decide
// again; a name is somebody else's, which the status says; or the namespace is being deleted, and all that we are asked for with it.
func Again(err error) (reconcile.Result, error) {
	switch {
	case ending(err):
		return reconcile.Result{}, nil
	case IsConflict(err), apierrors.IsNotFound(err):
		return reconcile.Result{RequeueAfter: time.Second}, nil
	case Refusal(err) == v1alpha1.ReasonNotOwned:
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	}
	return reconcile.Result{}, err
}

// ending says that a namespace takes nothing new, because it is being deleted.
func ending(err error) bool { return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) }
