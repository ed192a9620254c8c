package distribution

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
)

// Reconciler compares what each pod says it has read with what its volumes should hold, and pokes those that are behind.
type Reconciler struct {
	Client client.Client
	// Known has the metadata of Secrets, and may be a moment behind.
	Known  client.Reader
	Clock  clock.PassiveClock
	Events events.EventRecorder
	// Ledger gets what pods say. Optional.
	Ledger *applied.Ledger

	memories  sync.Map // of types.NamespacedName: *memory
	hashes    hashes
	reading   singleflight.Group
	turnstile turnstile
}

// memory is what is remembered of a pod until it is gone, or another has its name.
type memory struct {
	uid types.UID
	// poked is the last poke. A manager that starts anew reads it in the annotation, does not know when it was, and pokes pods that are behind once more
	// than needed.
	poked poke
	// told is the hash of the files, by volume, that the pod has rejected and that was told of.
	told map[string]string
	// silent is a ready pod that did not answer when it was asked last.
	silent bool
}

// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=configmaps;secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile sees to it that one pod reads what its volumes should hold.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	if err := r.Client.Get(ctx, request.NamespacedName, pod); err != nil {
		r.forget(request.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !applied.CanAnswer(pod) {
		r.forget(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	known := r.memory(pod)
	wanted, err := r.wanted(ctx, pod)
	if err != nil {
		return reconcile.Result{}, err
	}
	found := state{wanted: digest(wanted), ready: applied.Ready(pod), last: known.poked}
	if !found.outrun() {
		report, heard := applied.Ask(ctx, pod)
		if known.onceSilent(found.ready, heard) {
			return reconcile.Result{RequeueAfter: askSilent}, nil
		}
		if r.Ledger != nil {
			r.Ledger.Note(pod, report)
		}
		if heard {
			r.tell(ctx, pod, known.untold(report.Rejections(wanted)))
		}
		found.heard, found.arrived = heard, heard && report.Has(wanted)
	}
	next := decide(r.Clock.Now(), found)
	if err := r.apply(ctx, pod, known, found.wanted, next); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: next.after, Priority: ptr.To(found.priority())}, nil
}

// priority is that of the pod's next look. One that was asked and did not answer holds a worker for a second, and where a zone is lost there are thousands:
// they wait until nobody else does.
func (s state) priority() int {
	if s.heard || s.outrun() {
		return 0
	}
	return handler.LowPriority
}

// apply pokes the pod if that was decided. The patch names the pod's uid, so that it never lands on a later pod of the same name.
func (r *Reconciler) apply(ctx context.Context, pod *corev1.Pod, known *memory, wanted string, next action) error {
	if next.poke == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID,
		"annotations": map[string]string{v1alpha1.AnnotationVolumes: fmt.Sprintf("%s %d", wanted, next.poke)},
	}})
	if err != nil {
		return err
	}
	target := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	target.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	leave, ok := r.turnstile.enter(ctx, pod.Namespace)
	if !ok { // unless this is the end, the pod comes again after the attempt's pause
		return ctx.Err()
	}
	defer leave()
	switch err := r.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch)); {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), hasAnotherUID(err):
		return nil // the pod is gone; what has its name now wakes us itself
	case err != nil:
		return fmt.Errorf("poke the pod: %w", err)
	}
	pokes.Inc()
	known.poked = poke{wanted: wanted, attempt: next.poke, at: r.Clock.Now()} // which may be long after it was decided
	return nil
}

// hasAnotherUID says whether the API server refuses a patch for the uid in it. What else it calls invalid is most likely what a webhook makes of the pod.
func hasAnotherUID(err error) bool {
	cause, ok := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return ok && cause.Field == "metadata.uid"
}

// onceSilent says whether a ready pod has not answered, but did so the time before, or was not asked yet. Most likely it is in step, and this
// machine or that one is busy: a manager that takes over asks all pods of the cluster.
func (m *memory) onceSilent(ready, heard bool) bool {
	before := m.silent
	m.silent = ready && !heard
	return m.silent && !before
}

// memory returns what is remembered of a pod. Nobody else uses it meanwhile: no two workers have the same pod.
func (r *Reconciler) memory(pod *corev1.Pod) *memory {
	key := client.ObjectKeyFromObject(pod)
	if found, ok := r.memories.Load(key); ok && found.(*memory).uid == pod.UID {
		return found.(*memory)
	}
	r.forget(key)
	known := &memory{uid: pod.UID, poked: parsePoke(pod.Annotations[v1alpha1.AnnotationVolumes])}
	r.memories.Store(key, known)
	return known
}

func (r *Reconciler) forget(pod types.NamespacedName) {
	r.memories.Delete(pod)
	if r.Ledger != nil {
		r.Ledger.Forget(pod)
	}
}
