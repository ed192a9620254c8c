package distribution

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/watched"
)

// byVolume indexes pods by the names of the ConfigMaps and Secrets that their volumes show. Of which kind it is does not matter: a bundle may be of
// either, by one name.
const byVolume = "distribution/volume"

// workers is how many pods are looked at at a time, and so the most pokes that can be under way. A pod that does not answer holds its worker for a second, and
// there may be thousands behind one NetworkPolicy.
const workers = 64

// Setup registers the controller.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, byVolume, shown); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("distribution").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(ours), predicate.Funcs{UpdateFunc: matters})).
		Watches(&corev1.ConfigMap{}, r.podsThatShow(), builder.WithPredicates(watched.AfterStart)).
		Watches(&corev1.Secret{}, r.podsThatShow(), builder.OnlyMetadata, builder.WithPredicates(watched.AfterStart)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			// No limit for all together, which by default is ten a second: when the API server is back, there may be thousands to be told.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minPause, maxPause),
			// An API server answers within 34 s. What stands before it may never do so.
			ReconciliationTimeout: time.Minute,
		}).
		Complete(r)
}

func ours(object client.Object) bool { return object.GetLabels()[v1alpha1.LabelPod] != "" }

// matters says whether a change of a pod may be a reason to ask it. The annotation is none: it is our own poke, and who was poked is asked later.
func matters(change event.UpdateEvent) bool {
	before, after := change.ObjectOld.(*corev1.Pod), change.ObjectNew.(*corev1.Pod)
	return before.UID != after.UID || applied.CanAnswer(before) != applied.CanAnswer(after) || applied.Ready(before) != applied.Ready(after) ||
		before.Status.PodIP != after.Status.PodIP || !maps.Equal(before.Labels, after.Labels)
}

func shown(object client.Object) []string {
	if !ours(object) {
		return nil
	}
	var values []string
	for _, volume := range volumes(object.(*corev1.Pod)) {
		for _, source := range volume.sources {
			if !slices.Contains(values, source.name) {
				values = append(values, source.name)
			}
		}
	}
	return values
}

func (r *Reconciler) podsThatShow() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var pods corev1.PodList
		err := r.Client.List(ctx, &pods, client.InNamespace(object.GetNamespace()), client.MatchingFields{byVolume: object.GetName()}, client.UnsafeDisableDeepCopy)
		if err != nil { // the cache is gone: the manager is stopping
			return nil
		}
		requests := make([]reconcile.Request, len(pods.Items))
		for i := range pods.Items {
			requests[i].NamespacedName = client.ObjectKeyFromObject(&pods.Items[i])
		}
		return requests
	})
}
