package owned

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// lookAgain is the pause before a name that is somebody else's is looked at again. What an earlier object of our name has left behind wakes
// us when the garbage collector has removed it; what nobody controls may go without a word.
const lookAgain = 10 * time.Second

// Again is what a Reconcile returns after err. It keeps out of the log what is no fault: somebody was faster, so we observe and decide again; or a name is somebody else's, which the
// status says.
func Again(err error) (reconcile.Result, error) {
	switch {
	case IsConflict(err):
		return reconcile.Result{RequeueAfter: time.Second}, nil
	case Refusal(err) == v1alpha1.ReasonNotOwned:
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	}
	return reconcile.Result{}, err
}
