package localnode

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// kubelet takes every pod that no other node has, and keeps a sandbox for each.
type kubelet struct {
	client    client.Client // its reads are cached
	live      client.Reader // its reads are not
	config    *rest.Config
	images    map[string]string
	dir, logs string
	claims    string // where claims are kept
	addresses *addresses
	log       *slog.Logger

	mu        sync.Mutex
	sandboxes map[types.NamespacedName]*sandbox
	endings   sync.WaitGroup
}

func (k *kubelet) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kubelet").For(&corev1.Pod{}).WithOptions(options).Complete(k)
}

// Reconcile starts a pod that is new, ends one that is being deleted, and refreshes the volumes of one that has changed.
func (k *kubelet) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	running := k.sandbox(request.NamespacedName)
	err := k.client.Get(ctx, request.NamespacedName, &pod)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return reconcile.Result{}, err
	case err != nil || running != nil && running.pod.UID != pod.UID: // deleted by force, and perhaps there again under the same name
		if running != nil {
			k.end(request.NamespacedName, running, 0)
			return reconcile.Result{RequeueAfter: retryPeriod}, nil
		}
		return reconcile.Result{}, nil
	case pod.Spec.NodeName != "" && pod.Spec.NodeName != nodeName:
		return reconcile.Result{}, nil
	case pod.DeletionTimestamp != nil:
		if running != nil {
			k.end(request.NamespacedName, running, time.Duration(*pod.DeletionGracePeriodSeconds)*time.Second)
			return reconcile.Result{}, nil // comes again when the sandbox is gone
		}
		return reconcile.Result{}, k.forget(ctx, &pod)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return reconcile.Result{}, nil
	case running == nil:
		return reconcile.Result{}, k.begin(ctx, &pod)
	default:
		if changed(running.seen, &pod) {
			running.seen = &pod
			running.refresh()
		}
		return reconcile.Result{}, nil
	}
}

// begin binds a pod to this node and starts it.
func (k *kubelet) begin(ctx context.Context, pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
		if err := k.client.SubResource("binding").Create(ctx, pod, binding); err != nil {
			return client.IgnoreNotFound(fmt.Errorf("bind: %w", err))
		}
		pod.Spec.NodeName = nodeName
	}
	sandbox, err := newSandbox(k, pod)
	if err != nil {
		return err
	}
	k.log.Info("pod starts", "pod", pod.Name, "namespace", pod.Namespace, "address", sandbox.address.Pod)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sandboxes[client.ObjectKeyFromObject(pod)] = sandbox
	return nil
}

// end stops a sandbox and lets go of it and of its pod. It does not wait for that.
func (k *kubelet) end(name types.NamespacedName, running *sandbox, grace time.Duration) {
	k.endings.Go(func() {
		running.stop(grace)
		k.mu.Lock()
		if k.sandboxes[name] == running {
			delete(k.sandboxes, name)
		}
		k.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		defer cancel()
		if err := k.forget(ctx, running.pod); err != nil {
			k.log.Warn("pod ended, but could not be removed", "pod", name, "error", err)
		}
	})
}

// forget removes a pod whose processes are gone from the API server: the kubelet's last word.
func (k *kubelet) forget(ctx context.Context, pod *corev1.Pod) error {
	return client.IgnoreNotFound(client.IgnoreAlreadyExists(
		k.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})))
}

func (k *kubelet) sandbox(name types.NamespacedName) *sandbox {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sandboxes[name]
}

// stopAll ends every pod of this node, each within its own grace period, and returns when all their processes are gone.
func (k *kubelet) stopAll() {
	k.mu.Lock()
	for _, running := range k.sandboxes {
		k.endings.Go(func() { running.stop(gracePeriod(running.pod)) })
	}
	k.mu.Unlock()
	k.endings.Wait()
}

// changed tells a change that makes a kubelet look at the pod again from one of its status alone.
func changed(before, now *corev1.Pod) bool {
	return !equality.Semantic.DeepEqual(before.Annotations, now.Annotations) ||
		!equality.Semantic.DeepEqual(before.Labels, now.Labels) ||
		!equality.Semantic.DeepEqual(before.Spec, now.Spec)
}
