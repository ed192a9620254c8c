package signingkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// report writes the status, if it has changed, and says when to come back. Ring is what is stored now, nil when that is not known.
func (r *Reconciler) report(ctx context.Context, key *v1alpha1.SigningKey, made decision, ring *signing.Ring, failed error) (reconcile.Result, error) {
	now, reason := made.now, refusal(failed)
	if failed != nil && reason == "" {
		return owned.Again(failed)
	}
	before := key.Status.DeepCopy()
	set(key, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the keys are kept as asked", now)
	if failed != nil {
		set(key, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, failed.Error(), now)
	} else {
		set(key, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "a key signs, and the key set is published", now)
	}
	if ring != nil {
		tellAcknowledged(key, made, ring.Rotation())
		describe(key, made, ring.Rotation())
		observeRing(key, ring.Rotation())
	}
	observeReady(client.ObjectKeyFromObject(key), failed == nil)
	if !equality.Semantic.DeepEqual(before, &key.Status) {
		if reason == v1alpha1.ReasonUnreadable {
			r.Events.Eventf(key, nil, corev1.EventTypeWarning, reason, "Observe", "%s", failed)
		}
		if err := r.Client.Status().Update(ctx, key); err != nil {
			return owned.Again(fmt.Errorf("write the status: %w", err))
		}
		if before.WaitingForCount == 0 && key.Status.WaitingForCount > 0 {
			r.Events.Eventf(key, nil, corev1.EventTypeWarning, eventKeyWaiting, "Rotate",
				"key %s is due to sign and waits, until %s at the latest, for %d pods that have not reported it: %s", made.plan.Due,
				deadline(key, ring.Rotation()).UTC().Format(time.RFC3339), len(made.heard.missing), made.heard)
		}
	}
	if reason == v1alpha1.ReasonUnreadable {
		return reconcile.Result{}, nil // a change of the Secret wakes us
	}
	if failed != nil {
		return owned.Again(failed)
	}
	return reconcile.Result{RequeueAfter: made.plan.NextCheck.Sub(now)}, nil
}

// refusal is the condition reason of a failure that only a change of some object can mend; "" for all others.
func refusal(err error) string {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return v1alpha1.ReasonUnreadable
	}
	return owned.Refusal(err)
}

// tellAcknowledged says how the key that signs came to sign. That is decided once, when it begins to; later there is nothing to see of it.
func tellAcknowledged(key *v1alpha1.SigningKey, made decision, ring rotation.Ring) {
	active, _ := ring.Active()
	tell := func(status metav1.ConditionStatus, reason, format string, args ...any) {
		set(key, v1alpha1.ConditionAcknowledged, status, reason, fmt.Sprintf("key %s %s", active.ID, fmt.Sprintf(format, args...)), made.now)
	}
	switch why, begins := made.activation(); {
	case begins && why == rotation.Due:
		tell(metav1.ConditionTrue, v1alpha1.ReasonAcknowledged, "was reported by every ready pod that depends on it before it signed")
	case begins && why == rotation.Unacknowledged:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUnacknowledged, "signs although %d pods had not reported it within %s: %s",
			len(made.heard.missing), schedule(key.Spec).AcknowledgeWithin, made.heard)
	case begins:
		tell(metav1.ConditionTrue, v1alpha1.ReasonNotAwaited, "had to sign at once, and nobody was asked")
	case key.Status.ActiveKeyID != active.ID || meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionAcknowledged) == nil:
		tell(metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "signs, and the manager was kept from recording who had reported it")
	}
}

// activation is why some key begins to sign by this decision.
func (d decision) activation() (why rotation.Why, begins bool) {
	for _, step := range d.plan.Steps {
		if step.Kind == rotation.Activate || step.Kind == rotation.Generate && step.Phase == rotation.Active {
			return step.Why, true
		}
	}
	return "", false
}

// deadline is when a key that is due signs whether it is acknowledged or not.
func deadline(key *v1alpha1.SigningKey, ring rotation.Ring) time.Time {
	s := schedule(key.Spec)
	return s.NextRotation(ring).Add(s.AcknowledgeWithin)
}

// describe fills in what the status tells of the ring.
func describe(key *v1alpha1.SigningKey, made decision, ring rotation.Ring) {
	status := &key.Status
	status.ActiveKeyID, status.ActiveSince, status.NextRotation, status.Keys = "", nil, nil, nil
	status.WaitingFor, status.WaitingForCount = nil, 0
	if made.plan.Waits() {
		status.WaitingFor, status.WaitingForCount = made.heard.named(), int32(len(made.heard.missing)) //nolint:gosec // pods of a namespace
	}
	if active, ok := ring.Active(); ok {
		status.ActiveKeyID = active.ID
		status.ActiveSince = moment(active.ActivatedAt)
		status.NextRotation = moment(schedule(key.Spec).NextRotation(ring))
	}
	for _, k := range ring {
		status.Keys = append(status.Keys, v1alpha1.KeyStatus{
			KeyID:     k.ID,
			Algorithm: v1alpha1.SigningAlgorithm(k.Algorithm),
			Phase:     v1alpha1.KeyPhase(k.Phase),
			Since:     *moment(k.Since()),
			Until:     moment(k.Until(key.Spec.Retain.Duration)),
		})
	}
}

// moment is a time as the API stores it, in whole seconds: a finer one would never equal what was stored. The zero time is nil.
func moment(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	stored := metav1.NewTime(t).Rfc3339Copy()
	return &stored
}

// Event reasons. They are stable.
const (
	eventKeyPublished = "KeyPublished"
	eventKeyActivated = "KeyActivated"
	eventKeyRemoved   = "KeyRemoved"
	eventKeyRevoked   = "KeyRevoked"
	eventKeysLost     = "KeysLost"

	eventKeyWaiting                 = "KeyWaiting"
	eventKeyActivatedUnacknowledged = "KeyActivatedUnacknowledged"
)

// announce tells of each key that changed its role, in events and metrics. Before it is called the change has been stored.
func (r *Reconciler) announce(key *v1alpha1.SigningKey, made decision, before, after rotation.Ring) {
	tell := func(eventType, reason, note string, args ...any) {
		r.Events.Eventf(key, nil, eventType, reason, "Rotate", note, args...)
		transitions.WithLabelValues(reason).Inc()
	}
	find := func(ring rotation.Ring, id string) (rotation.Key, bool) {
		i := slices.IndexFunc(ring, func(k rotation.Key) bool { return k.ID == id })
		if i < 0 {
			return rotation.Key{}, false
		}
		return ring[i], true
	}
	// The status is asked for words only. Whether there are keys is decided by the Secret alone.
	if lost := key.Status.ActiveKeyID; lost != "" && len(before) == 0 {
		tell(corev1.EventTypeWarning, eventKeysLost,
			"Secret %q is gone, and key %s with it: every token that was signed before is refused from now on", signingName(key), lost)
	}
	for _, k := range after {
		was, there := find(before, k.ID)
		switch {
		case k.Phase == rotation.Pending && !there:
			tell(corev1.EventTypeNormal, eventKeyPublished, "key %s is published and will sign later", k.ID)
		case k.Phase == rotation.Active && was.Phase != rotation.Active:
			tell(corev1.EventTypeNormal, eventKeyActivated, "key %s signs from now on", k.ID)
		}
	}
	switch why, _ := made.activation(); why {
	case rotation.Due:
		acknowledged.Observe(made.now.Sub(schedule(key.Spec).NextRotation(before)).Seconds())
	case rotation.Unacknowledged:
		tell(corev1.EventTypeWarning, eventKeyActivatedUnacknowledged, "key %s signs although %d pods that depend on it have not reported it: %s",
			made.plan.Due, len(made.heard.missing), made.heard)
	default: // nobody was waited for
	}
	for _, k := range before {
		if _, there := find(after, k.ID); there {
			continue
		}
		if slices.Contains(key.Spec.RevokedKeyIDs, k.ID) {
			tell(corev1.EventTypeWarning, eventKeyRevoked, "key %s is not trusted any more", k.ID)
		} else {
			tell(corev1.EventTypeNormal, eventKeyRemoved, "key %s has left the ring", k.ID)
		}
	}
}

func set(key *v1alpha1.SigningKey, condition string, status metav1.ConditionStatus, reason, message string, now time.Time) {
	meta.SetStatusCondition(&key.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message,
		ObservedGeneration: key.Generation, LastTransitionTime: metav1.NewTime(now),
	})
}
