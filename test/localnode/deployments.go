package localnode

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// deployments keeps the pods that Deployments ask for. There are no ReplicaSets between: a pod belongs to its Deployment.
type deployments struct {
	client client.Client
	live   client.Reader // pods are counted from here: the cache may not know yet of those that were just made
}

func (d *deployments) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("deployments").For(&appsv1.Deployment{}).Owns(&corev1.Pod{}).
		WithOptions(options).Complete(d)
}

// Reconcile makes and deletes pods until there are as many of the current template as the Deployment asks for, and no others.
func (d *deployments) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var deployment appsv1.Deployment
	if err := d.client.Get(ctx, request.NamespacedName, &deployment); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err) // its pods are the garbage collector's business
	}
	if deployment.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	pods, err := d.podsOf(ctx, &deployment)
	if err != nil {
		return reconcile.Result{}, err
	}
	hash := templateHash(deployment.Spec.Template)
	next := roll(*deployment.Spec.Replicas, deployment.Spec.Strategy.Type, hash, pods)
	for _, pod := range next.remove {
		if err = d.client.Delete(ctx, &pod, client.Preconditions{UID: &pod.UID}); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, err
		}
	}
	var refused error
	for range next.create {
		if refused = d.client.Create(ctx, newPod(&deployment, hash)); refused != nil {
			break
		}
	}
	if pods, err = d.podsOf(ctx, &deployment); err != nil {
		return reconcile.Result{}, err
	}
	result := reconcile.Result{}
	if refused != nil {
		result.RequeueAfter = 2 * retryPeriod // the refusal is in the status, for the user to read
	}
	return result, d.writeStatus(ctx, &deployment, hash, pods, refused)
}

// rollout is what to do next on the way to the wanted pods.
type rollout struct {
	create int
	remove []corev1.Pod
}

// roll decides what to do next. With Recreate the old pods go first; with RollingUpdate all new ones are made at once, and the old ones go
// when every new one is ready (as with maxSurge 100% and maxUnavailable 0).
func roll(replicas int32, strategy appsv1.DeploymentStrategyType, hash string, pods []corev1.Pod) rollout {
	var current, old, ending []corev1.Pod
	ready := 0
	for _, pod := range pods {
		switch {
		case pod.DeletionTimestamp != nil:
			ending = append(ending, pod)
		case pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != hash:
			old = append(old, pod)
		default:
			current = append(current, pod)
			if Ready(&pod) {
				ready++
			}
		}
	}
	wanted := int(replicas)
	switch {
	case len(current) > wanted:
		// Those that are not ready go first, then the youngest.
		slices.SortStableFunc(current, func(a, b corev1.Pod) int {
			if Ready(&a) != Ready(&b) {
				if Ready(&a) {
					return -1
				}
				return 1
			}
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		})
		return rollout{remove: append(current[wanted:], old...)}
	case strategy == appsv1.RecreateDeploymentStrategyType && len(old)+len(ending) > 0:
		return rollout{remove: old}
	case len(current) < wanted:
		return rollout{create: wanted - len(current)}
	case ready == wanted:
		return rollout{remove: old}
	}
	return rollout{}
}

// podsOf are the pods of a Deployment. One whose labels were changed and match no longer is let go of, as a ReplicaSet does: it runs on, no
// Service leads to it, and another takes its place.
func (d *deployments) podsOf(ctx context.Context, deployment *appsv1.Deployment) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return nil, err
	}
	var all corev1.PodList
	if err := d.live.List(ctx, &all, client.InNamespace(deployment.Namespace)); err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, pod := range all.Items {
		switch {
		case !metav1.IsControlledBy(&pod, deployment):
		case selector.Matches(labels.Set(pod.Labels)):
			pods = append(pods, pod)
		default:
			if err := d.release(ctx, &pod, deployment); err != nil {
				return nil, err
			}
		}
	}
	return pods, nil
}

func (d *deployments) release(ctx context.Context, pod *corev1.Pod, deployment *appsv1.Deployment) error {
	before := pod.DeepCopy()
	pod.OwnerReferences = slices.DeleteFunc(pod.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == deployment.UID })
	return client.IgnoreNotFound(d.client.Patch(ctx, pod, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

func newPod(deployment *appsv1.Deployment, hash string) *corev1.Pod {
	template := deployment.Spec.Template.DeepCopy()
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.GenerateName = deployment.Namespace, deployment.Name+"-"+hash+"-"
	metav1.SetMetaDataLabel(&pod.ObjectMeta, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	return pod
}

// templateHash names a version of a template: another template, another hash.
func templateHash(template corev1.PodTemplateSpec) string {
	bytes, err := json.Marshal(template)
	if err != nil {
		panic(err) // it came as JSON
	}
	hash := fnv.New32a()
	hash.Write(bytes)
	return rand.SafeEncodeString(fmt.Sprint(hash.Sum32()))
}

func (d *deployments) writeStatus(ctx context.Context, deployment *appsv1.Deployment, hash string, pods []corev1.Pod, refused error) error {
	next := deployment.DeepCopy()
	next.Status = deploymentStatus(deployment, hash, pods, refused, metav1.Now())
	if equality.Semantic.DeepEqual(next.Status, deployment.Status) {
		return nil
	}
	return client.IgnoreNotFound(d.client.Status().Patch(ctx, next, client.MergeFrom(deployment)))
}

func deploymentStatus(deployment *appsv1.Deployment, hash string, pods []corev1.Pod, refused error, now metav1.Time) appsv1.DeploymentStatus {
	wanted := *deployment.Spec.Replicas
	status := appsv1.DeploymentStatus{ObservedGeneration: deployment.Generation, Conditions: slices.Clone(deployment.Status.Conditions)}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil {
			continue
		}
		status.Replicas++
		if pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] == hash {
			status.UpdatedReplicas++
		}
		if Ready(&pod) {
			status.ReadyReplicas++
			status.AvailableReplicas++
		}
	}
	status.UnavailableReplicas = max(0, wanted-status.AvailableReplicas)

	set := func(kind appsv1.DeploymentConditionType, holds bool, reason, message string) {
		condition := appsv1.DeploymentCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: now, LastUpdateTime: now}
		if holds {
			condition.Status = corev1.ConditionTrue
		}
		at := slices.IndexFunc(status.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == kind })
		if at < 0 {
			status.Conditions = append(status.Conditions, condition)
			return
		}
		if before := status.Conditions[at]; before.Status == condition.Status {
			condition.LastTransitionTime = before.LastTransitionTime
			if before.Reason == reason && before.Message == message {
				condition.LastUpdateTime = before.LastUpdateTime
			}
		}
		status.Conditions[at] = condition
	}
	if status.AvailableReplicas >= wanted {
		set(appsv1.DeploymentAvailable, true, "MinimumReplicasAvailable", "every replica is ready")
	} else {
		set(appsv1.DeploymentAvailable, false, "MinimumReplicasUnavailable", fmt.Sprintf("%d of %d replicas are ready", status.AvailableReplicas, wanted))
	}
	if status.UpdatedReplicas == wanted && status.AvailableReplicas == wanted && status.Replicas == wanted {
		set(appsv1.DeploymentProgressing, true, "NewReplicaSetAvailable", "every pod is of the current template and ready")
	} else {
		set(appsv1.DeploymentProgressing, true, "ReplicaSetUpdated", fmt.Sprintf("%d of %d pods are of the current template", status.UpdatedReplicas, wanted))
	}
	if refused != nil {
		set(appsv1.DeploymentReplicaFailure, true, "FailedCreate", refused.Error())
	} else {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == appsv1.DeploymentReplicaFailure })
	}
	return status
}
