package coverage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	// pause is the time between two looks.
	pause = 30 * time.Second
	// page is how many pods are asked for at once.
	page = 500
	// eventsALook bounds how many events one look sends. Those that are left come with the next.
	eventsALook = 50
	// eventSidecarMissing is an event's reason. It is stable.
	eventSidecarMissing = "SidecarMissing"
)

// Finder looks for pods without the sidecar that they should have. It is a manager.Runnable for the leader.
type Finder struct {
	// Namespaces reads namespaces, Pods asks the API server itself for the metadata of pods.
	Namespaces, Pods client.Reader
	// Own is the manager's namespace, whose pods are never injected, like those of kube-system. "" for none.
	Own    string
	Clock  clock.WithTicker
	Events events.EventRecorder

	mu      sync.Mutex
	looked  bool
	bare    map[string][]metav1.ObjectMeta // by namespace
	told    map[types.UID]bool
	changed func(namespace string)
}

// OnChange has changed called with each namespace for which In would tell something else than before. Call it before Start.
func (f *Finder) OnChange(changed func(namespace string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = changed
}

// In returns the pods of a namespace that lack the sidecar, sorted by name, and whether anybody has looked yet.
func (f *Finder) In(namespace string) (pods []metav1.ObjectMeta, looked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bare[namespace], f.looked
}

// Start looks until ctx ends. A look that fails leaves what is known as it was.
func (f *Finder) Start(ctx context.Context) error {
	ticker := f.Clock.NewTicker(pause)
	defer ticker.Stop()
	for {
		if err := f.Look(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "cannot look for pods without a sidecar")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// +kubebuilder:rbac:groups="",resources=namespaces;pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Look looks once.
func (f *Finder) Look(ctx context.Context) error {
	found, err := f.find(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	before, first, changed := f.bare, !f.looked, f.changed
	f.bare, f.looked = found, true
	f.mu.Unlock()

	f.tell(ctx, found)
	count(found)
	if changed == nil {
		return nil
	}
	if first {
		changed(metav1.NamespaceAll)
		return nil
	}
	for namespace := range union(before, found) {
		if !slices.EqualFunc(before[namespace], found[namespace], same) {
			changed(namespace)
		}
	}
	return nil
}

// find asks for what the webhook would have been asked about, and the label says that it was not.
func (f *Finder) find(ctx context.Context) (map[string][]metav1.ObjectMeta, error) {
	found := map[string][]metav1.ObjectMeta{}
	if err := f.list(ctx, metav1.NamespaceAll, asking, found); err != nil {
		return nil, err
	}
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := f.Namespaces.List(ctx, namespaces, client.MatchingLabelsSelector{Selector: optedIn}); err != nil {
		return nil, fmt.Errorf("list the namespaces that ask for the sidecar: %w", err)
	}
	for i := range namespaces.Items {
		if err := f.list(ctx, namespaces.Items[i].Name, silent, found); err != nil {
			return nil, err
		}
	}
	for namespace := range found {
		if namespace == metav1.NamespaceSystem || namespace == f.Own {
			delete(found, namespace)
			continue
		}
		slices.SortFunc(found[namespace], func(a, b metav1.ObjectMeta) int { return strings.Compare(a.Name, b.Name) })
	}
	return found, nil
}

func (f *Finder) list(ctx context.Context, namespace string, selector labels.Selector, found map[string][]metav1.ObjectMeta) error {
	pods := &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	for {
		err := f.Pods.List(ctx, pods, client.InNamespace(namespace), client.Limit(page), client.Continue(pods.Continue),
			client.MatchingLabelsSelector{Selector: selector}, client.MatchingFieldsSelector{Selector: alive})
		if err != nil {
			return fmt.Errorf("list the pods without a sidecar: %w", err)
		}
		for i := range pods.Items {
			if pod := &pods.Items[i]; pod.DeletionTimestamp.IsZero() {
				found[pod.Namespace] = append(found[pod.Namespace], metav1.ObjectMeta{
					Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Labels: pod.Labels,
				})
			}
		}
		if pods.Continue == "" {
			return nil
		}
	}
}

// tell sends an event for each pod that is new to this process.
func (f *Finder) tell(ctx context.Context, found map[string][]metav1.ObjectMeta) {
	told := map[types.UID]bool{}
	sent := 0
	for _, namespace := range slices.Sorted(maps.Keys(found)) {
		for i := range found[namespace] {
			pod := &corev1.Pod{ObjectMeta: found[namespace][i]}
			if !f.told[pod.UID] {
				if sent == eventsALook {
					continue
				}
				sent++
				f.Events.Eventf(pod, nil, corev1.EventTypeWarning, eventSidecarMissing, "Look", "%s",
					"the pod asks for the sidecar, and was made without it: it is not protected; delete it to have it made anew")
				log.FromContext(ctx).Info("pod without the sidecar that it asks for", "namespace", pod.Namespace, "pod", pod.Name)
			}
			told[pod.UID] = true
		}
	}
	f.told = told
}

func same(a, b metav1.ObjectMeta) bool { return a.UID == b.UID && maps.Equal(a.Labels, b.Labels) }

func union(a, b map[string][]metav1.ObjectMeta) map[string]bool {
	all := map[string]bool{}
	for namespace := range a {
		all[namespace] = true
	}
	for namespace := range b {
		all[namespace] = true
	}
	return all
}

// The selectors are those of the webhook's configuration, for pods that it has not labelled.
var (
	optedIn = selector(v1alpha1.LabelInject + "," + notDisabled)
	asking  = selector(v1alpha1.LabelInject + "," + notDisabled + "," + notOurs)
	silent  = selector("!" + v1alpha1.LabelInject + "," + notOurs)
	// alive: what has ended serves nobody.
	alive = fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)), fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)))
)

const (
	notDisabled = v1alpha1.LabelInject + " notin (" + v1alpha1.LabelInjectDisabled + ")"
	notOurs     = "!" + v1alpha1.LabelPod // neither with a sidecar nor a token service
)

func selector(text string) labels.Selector {
	parsed, err := labels.Parse(text)
	if err != nil {
		panic(err) // the words are ours
	}
	return parsed
}
