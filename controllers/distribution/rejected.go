package distribution

import (
	"context"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/transition"
)

// eventFilesRejected is an event's reason. It is stable.
const eventFilesRejected = "FilesRejected"

// tell makes visible what a pod has rejected: once for each content of a volume, until the pod takes another or is gone. A manager that
// starts anew tells of it once more.
func (r *Reconciler) tell(ctx context.Context, pod *corev1.Pod, untold []applied.Rejection) {
	for _, rejection := range untold {
		// The action keeps events apart that would be counted as one. The hash is one of ours; the words are the pod's.
		action, note := rejection.Volume+"/"+rejection.Hash[:12], transition.Note(rejection.Volume+": "+plain(rejection.Error))
		r.Events.Eventf(pod, nil, corev1.EventTypeWarning, eventFilesRejected, action, "%s", note)
		rejected.Inc()
		log.FromContext(ctx).Info("pod rejects its files", "volume", rejection.Volume, "rejected", rejection.Hash, "why", note)
	}
}

// untold returns the rejections that were not told of yet, and remembers those that are left.
func (m *memory) untold(rejections []applied.Rejection) []applied.Rejection {
	before := m.told
	m.told = nil
	var untold []applied.Rejection
	for _, rejection := range rejections {
		if m.told == nil {
			m.told = map[string]string{}
		}
		m.told[rejection.Volume] = rejection.Hash
		if before[rejection.Volume] != rejection.Hash {
			untold = append(untold, rejection)
		}
	}
	return untold
}

// plain takes out of a pod's words what could pretend to be other lines, or steer a terminal.
func plain(words string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, words)
}
