package applied

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// bundleVolume is the volume of a sidecar that holds its policy's bundle.
const bundleVolume = "latchkey-bundle"

// Ledger remembers what each pod with a sidecar said last. It is what this process was told, and empty when it starts. The zero value is ready.
type Ledger struct {
	mu    sync.Mutex
	pods  map[types.NamespacedName]entry
	heard func(policy types.NamespacedName)
}

// entry is a pod's word on its bundle.
type entry struct {
	policy  types.NamespacedName
	applied string // the hash of the bundle's files; "" for none, or no answer
}

// OnChange has heard called with the policy of each pod that says something else than before. Call it before anything is noted.
func (l *Ledger) OnChange(heard func(policy types.NamespacedName)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = heard
}

// Note keeps a pod's report; that of a pod that did not answer is the empty one. Pods without a policy are no concern of anybody.
func (l *Ledger) Note(pod *corev1.Pod, report Report) {
	policy := pod.Labels[v1alpha1.LabelPolicy]
	if policy == "" {
		return
	}
	now := entry{policy: types.NamespacedName{Namespace: pod.Namespace, Name: policy}, applied: report.Volumes[bundleVolume].Applied}
	key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.pods[key]; known && before == now {
		return
	}
	if l.pods == nil {
		l.pods = map[types.NamespacedName]entry{}
	}
	l.pods[key] = now
	if l.heard != nil {
		l.heard(now.policy)
	}
}

// Forget drops a pod that is gone, or cannot answer any more.
func (l *Ledger) Forget(pod types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pods, pod)
}

// Bundle returns the hash of the bundle's files that a pod said it has applied, and whether it was asked yet.
func (l *Ledger) Bundle(pod *corev1.Pod) (hash string, asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, asked := l.pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]
	return found.applied, asked
}
