// Package transition tells of conditions that have changed, in events and in the log. It knows what a transition is, and how much an event
// can hold; it does not know what the conditions mean.
package transition

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// maxNote is what the API server takes, in bytes.
const maxNote = 1024

// Tell tells of each condition whose status or reason is another than before. Call it once the conditions are stored: then each transition
// is told of once, and not at all if the manager is killed in between.
func Tell(ctx context.Context, recorder events.EventRecorder, object runtime.Object, before, after []metav1.Condition) {
	for i := range after {
		now := &after[i]
		was := meta.FindStatusCondition(before, now.Type)
		if was != nil && was.Status == now.Status && was.Reason == now.Reason {
			continue
		}
		eventType := corev1.EventTypeWarning
		if now.Status == metav1.ConditionTrue || now.Reason == v1alpha1.ReasonProgressing {
			eventType = corev1.EventTypeNormal
		}
		message := Note(now.Message)
		// The action keeps events of two conditions with one reason apart: otherwise they would be counted as one.
		recorder.Eventf(object, nil, eventType, now.Reason, now.Type, "%s", message)
		log.FromContext(ctx).Info("condition changed", "condition", now.Type, "status", now.Status, "reason", now.Reason, "message", message)
	}
}

// Note is a text as an event can hold it.
func Note(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxNote {
		return text
	}
	return strings.ToValidUTF8(text[:maxNote-len(" ...")], "") + " ..."
}
