package localnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// collectPeriod is how often owners are looked for.
const collectPeriod = 2 * time.Second

// collected are the kinds that are owned by others in the clusters that this node is for.
var collected = []schema.GroupVersionKind{
	appsv1.SchemeGroupVersion.WithKind("Deployment"),
	corev1.SchemeGroupVersion.WithKind("Pod"),
	corev1.SchemeGroupVersion.WithKind("Service"),
	corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	corev1.SchemeGroupVersion.WithKind("Secret"),
	corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
}

// collector deletes objects whose owners are all gone, as the garbage collector of a cluster does.
type collector struct {
	client client.Client
	live   client.Reader
	log    *slog.Logger
}

// Start sweeps until ctx ends.
func (c *collector) Start(ctx context.Context) error {
	ticker := time.NewTicker(collectPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, kind := range collected {
			if err := c.sweep(ctx, kind); err != nil && ctx.Err() == nil {
				c.log.Warn("collect garbage", "kind", kind.Kind, "error", err)
			}
		}
	}
}

func (c *collector) sweep(ctx context.Context, kind schema.GroupVersionKind) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := c.client.List(ctx, list); err != nil {
		return err
	}
	var all error
	for _, object := range list.Items {
		if len(object.OwnerReferences) == 0 || object.DeletionTimestamp != nil {
			continue
		}
		owned, err := c.owned(ctx, object)
		if err == nil && !owned {
			object.SetGroupVersionKind(kind)
			c.log.Info("owner is gone", "kind", kind.Kind, "namespace", object.Namespace, "name", object.Name)
			err = client.IgnoreNotFound(c.client.Delete(ctx, &object, client.Preconditions{UID: &object.UID},
				client.PropagationPolicy(metav1.DeletePropagationBackground)))
		}
		all = errors.Join(all, err)
	}
	return all
}

// owned says whether one of an object's owners is still there. It asks the API server itself: a cache may not know yet of a new owner.
func (c *collector) owned(ctx context.Context, object metav1.PartialObjectMetadata) (bool, error) {
	for _, reference := range object.OwnerReferences {
		owner := &metav1.PartialObjectMetadata{}
		owner.SetGroupVersionKind(schema.FromAPIVersionAndKind(reference.APIVersion, reference.Kind))
		err := c.live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: reference.Name}, owner)
		if err == nil && owner.UID == reference.UID {
			return true, nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("look for %s %s: %w", reference.Kind, reference.Name, err)
		}
	}
	return false, nil
}
