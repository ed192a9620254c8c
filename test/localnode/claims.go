package localnode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// claimProtection keeps a claim from vanishing under a pod. The API server sets it on every claim.
const claimProtection = "kubernetes.io/pvc-protection"

// claims plays the provisioner of PersistentVolumeClaims: each is a directory that outlives the pods that mount it.
type claims struct {
	client client.Client
	live   client.Reader
	dir    string
}

// claimDir is where a claim is kept, below the directory of all claims.
func claimDir(dir, namespace, name string) string { return filepath.Join(dir, namespace, name) }

func (c *claims) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("claims").For(&corev1.PersistentVolumeClaim{}).WithOptions(options).Complete(c)
}

// Reconcile calls a claim bound, and lets go of one that is being deleted, with all that it holds, when no pod uses it any more.
func (c *claims) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var claim corev1.PersistentVolumeClaim
	if err := c.client.Get(ctx, request.NamespacedName, &claim); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before := claim.DeepCopy()
	if claim.DeletionTimestamp == nil {
		if claim.Status.Phase == corev1.ClaimBound {
			return reconcile.Result{}, nil
		}
		claim.Status.Phase, claim.Status.AccessModes, claim.Status.Capacity = corev1.ClaimBound, claim.Spec.AccessModes, claim.Spec.Resources.Requests
		return reconcile.Result{}, client.IgnoreNotFound(c.client.Status().Patch(ctx, &claim, client.MergeFrom(before)))
	}
	if !controllerutil.RemoveFinalizer(&claim, claimProtection) {
		return reconcile.Result{}, nil
	}
	used, err := c.used(ctx, &claim)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("look for pods that use the claim: %w", err)
	}
	if used {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	if err := os.RemoveAll(claimDir(c.dir, claim.Namespace, claim.Name)); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, client.IgnoreNotFound(c.client.Patch(ctx, &claim, client.MergeFrom(before)))
}

// used says whether a pod from before the deletion still uses the claim. Later ones have not mounted it, and wait for another.
func (c *claims) used(ctx context.Context, claim *corev1.PersistentVolumeClaim) (bool, error) {
	var pods corev1.PodList
	if err := c.live.List(ctx, &pods, client.InNamespace(claim.Namespace)); err != nil {
		return false, err
	}
	return slices.ContainsFunc(pods.Items, func(pod corev1.Pod) bool {
		return !pod.CreationTimestamp.After(claim.DeletionTimestamp.Time) && slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			return volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ClaimName == claim.Name
		})
	}), nil
}
