package distribution

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

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
	trimmed.Spec.Volumes = slices.Clip(slices.DeleteFunc(slices.Clone(pod.Spec.Volumes), func(volume corev1.Volume) bool {
		return !strings.HasPrefix(volume.Name, volumePrefix) || len(sourcesOf(&volume)) == 0
	}))
	trimmed.Spec.InitContainers = shared.containers(pod)
	trimmed.Status.Phase = pod.Status.Phase
	trimmed.Status.PodIP = pod.Status.PodIP
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			trimmed.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: condition.Status}}
		}
	}
	return trimmed, nil
}

// shared are init containers that pods in the cache share. In most clusters there are as many as versions of the sidecar, but pods of ten thousand.
var shared traces

// mostTraces bounds what is kept for pods that somebody has made up, each with another image.
const mostTraces = 100

type traces struct {
	mu    sync.Mutex
	known map[string][]corev1.Container
}

// containers is what is left of a pod's init containers: the trace of the sidecar, and its version. Nobody may change them.
func (t *traces) containers(pod *corev1.Pod) []corev1.Container {
	trace := inject.Trace(pod)
	var name strings.Builder
	for i := range trace {
		if at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == trace[i].Name }); at >= 0 {
			trace[i].Image = pod.Spec.InitContainers[at].Image
		}
		name.WriteString(trace[i].Name + " " + trace[i].Image + "\n")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found, ok := t.known[name.String()]; ok {
		return found
	}
	if t.known == nil {
		t.known = map[string][]corev1.Container{}
	}
	if len(t.known) < mostTraces {
		t.known[name.String()] = trace
	}
	return trace
}
