package distribution

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

// byVolume indexes pods by what their volumes show: "ConfigMap/<name>" and "Secret/<name>".
const byVolume = "distribution/volume"

// Setup registers the controller.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, byVolume, shown); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("distribution").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(ours))).
		Watches(&corev1.ConfigMap{}, r.podsThatShow(kindConfigMap)).
		Watches(&corev1.Secret{}, r.podsThatShow(kindSecret), builder.OnlyMetadata).
		// A pod that does not answer holds its worker for a second.
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(r)
}

func ours(object client.Object) bool { return object.GetLabels()[v1alpha1.LabelPod] != "" }

func shown(object client.Object) []string {
	if !ours(object) {
		return nil
	}
	var values []string
	for _, volume := range volumes(object.(*corev1.Pod)) {
		for _, source := range volume.sources {
			values = append(values, source.kind+"/"+source.name)
		}
	}
	return values
}

func (r *Reconciler) podsThatShow(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var pods corev1.PodList
		err := r.Client.List(ctx, &pods, client.InNamespace(object.GetNamespace()), client.MatchingFields{byVolume: kind + "/" + object.GetName()})
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

// Trim drops from a pod, before it is cached, all that no controller of ours reads. Of a pod that only says that it has a sidecar, nothing
// is left that would make it one of ours. What is left of any pod is left of it again: a cache that is filled anew trims pods twice.
func Trim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace:         pod.Namespace,
		Name:              pod.Name,
		UID:               pod.UID,
		ResourceVersion:   pod.ResourceVersion,
		DeletionTimestamp: pod.DeletionTimestamp,
	}}
	if !ours(pod) || pod.Labels[v1alpha1.LabelPod] == v1alpha1.LabelPodSidecar && !inject.Injected(pod) {
		return trimmed, nil
	}
	trimmed.Labels = pod.Labels
	if last, ok := pod.Annotations[v1alpha1.AnnotationVolumes]; ok {
		trimmed.Annotations = map[string]string{v1alpha1.AnnotationVolumes: last}
	}
	for _, volume := range pod.Spec.Volumes {
		if strings.HasPrefix(volume.Name, volumePrefix) {
			trimmed.Spec.Volumes = append(trimmed.Spec.Volumes, volume)
		}
	}
	trimmed.Spec.InitContainers = inject.Trace(pod)
	for i := range trimmed.Spec.InitContainers { // the version of the sidecar
		name := trimmed.Spec.InitContainers[i].Name
		if at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name }); at >= 0 {
			trimmed.Spec.InitContainers[i].Image = pod.Spec.InitContainers[at].Image
		}
	}
	trimmed.Status.Phase = pod.Status.Phase
	trimmed.Status.PodIP = pod.Status.PodIP
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			trimmed.Status.Conditions = append(trimmed.Status.Conditions, condition)
		}
	}
	return trimmed, nil
}
