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
func (r *Reconciler) report(ctx context.Context, key *v1alpha1.SigningKey, ring *signing.Ring, now, nextCheck time.Time, failed error) (reconcile.Result, error) {
	reason := refusal(failed)
	if failed != nil && reason == "" {
		return again(failed)
	}
	before := key.Status.DeepCopy()
	set(key, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the keys are kept as asked", now)
	if failed != nil {
		set(key, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, failed.Error(), now)
	} else {
		set(key, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "a key signs, and the key set is published", now)
	}
	if ring != nil {
		describe(key, ring.Rotation())
	}
	observeReady(client.ObjectKeyFromObject(key), failed == nil)
	if !equality.Semantic.DeepEqual(before, &key.Status) {
		if reason == v1alpha1.ReasonUnreadable {
			r.Events.Eventf(key, nil, corev1.EventTypeWarning, reason, "Observe", "%s", failed)
		}
		if err := r.Client.Status().Update(ctx, key); err != nil {
			return again(fmt.Errorf("write the status: %w", err))
		}
	}
	if reason == v1alpha1.ReasonUnreadable {
		return reconcile.Result{}, nil // a change of the Secret wakes us
	}
	if failed != nil {
		return reconcile.Result{}, failed
	}
	return reconcile.Result{RequeueAfter: nextCheck.Sub(now)}, nil
}

// refusal is the condition reason of a failure that only a change of some object can mend; "" for all others.
func refusal(err error) string {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return v1alpha1.ReasonUnreadable
	}
	return owned.Refusal(err)
}

// describe fills in what the status tells of the ring.
func describe(key *v1alpha1.SigningKey, ring rotation.Ring) {
	status := &key.Status
	status.ActiveKeyID, status.ActiveSince, status.NextRotation, status.Keys = "", nil, nil, nil
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
)

// announce tells of each key that changed its role, in events and metrics. Before it is called the change has been stored.
func (r *Reconciler) announce(key *v1alpha1.SigningKey, before, after rotation.Ring) {
	tell := func(eventType, reason, note, id string) {
		r.Events.Eventf(key, nil, eventType, reason, "Rotate", note, id)
		transitions.WithLabelValues(reason).Inc()
	}
	find := func(ring rotation.Ring, id string) (rotation.Key, bool) {
		i := slices.IndexFunc(ring, func(k rotation.Key) bool { return k.ID == id })
		if i < 0 {
			return rotation.Key{}, false
		}
		return ring[i], true
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

// again keeps conflicts out of the log: somebody was faster, so we observe and decide again.
func again(err error) (reconcile.Result, error) {
	if owned.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{}, err
}
