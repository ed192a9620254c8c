package installation

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/localnode"
)

// Await asks every 20 ms until it is done, and returns what was the case then. The error says what was the case last.
func Await(ctx context.Context, limit time.Duration, ask func() (done bool, status string)) (string, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, status := ask()
		if done {
			return status, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-deadline.C:
			return "", fmt.Errorf("not within %s; last: %s", limit, status)
		case <-ticker.C:
		}
	}
}

// DeploymentReady says whether all pods of a Deployment are ready, and what keeps them from it, as far as that is known.
func DeploymentReady(ctx context.Context, kube client.Client, key client.ObjectKey) (bool, string) {
	var deployment appsv1.Deployment
	if err := kube.Get(ctx, key, &deployment); err != nil {
		return false, err.Error()
	}
	status := deployment.Status
	ready := fmt.Sprintf("%d of %d ready", status.ReadyReplicas, *deployment.Spec.Replicas)
	if status.ObservedGeneration == deployment.Generation && status.ReadyReplicas == *deployment.Spec.Replicas {
		return true, ready
	}
	return false, ready + troubleWith(ctx, kube, deployment)
}

func troubleWith(ctx context.Context, kube client.Client, deployment appsv1.Deployment) string {
	for _, condition := range deployment.Status.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure {
			return "; " + condition.Message
		}
	}
	var pods corev1.PodList
	if err := kube.List(ctx, &pods, client.InNamespace(deployment.Namespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
		return "; " + err.Error()
	}
	for _, pod := range pods.Items {
		if !localnode.Ready(&pod) {
			return "; " + localnode.Trouble(&pod)
		}
	}
	return ""
}

// Ready says whether an object of one of Latchkey's kinds has the condition Ready, and otherwise what it says of itself.
func Ready(ctx context.Context, kube client.Client, kind string, key client.ObjectKey) (bool, string) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if err := kube.Get(ctx, key, object); err != nil {
		return false, err.Error()
	}
	var status struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &status); err != nil {
		return false, err.Error()
	}
	ready := apimeta.FindStatusCondition(status.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return false, "no word from the manager yet"
	case ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != object.GetGeneration():
		return false, ready.Reason + ": " + ready.Message
	}
	return true, "Ready"
}
