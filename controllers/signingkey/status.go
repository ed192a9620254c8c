package signingkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	"github.com/latchkey-dev/latchkey/internal/transition"
)

// report writes the status, if it has changed, and says when to come back. Ring is what is stored now, nil when that is not known.
func (r *Reconciler) report(ctx context.Context, key *v1alpha1.SigningKey, made decision, ring *signing.Ring, failed error) (reconcile.Result, error) {
	now, reason := made.now, refusal(failed)
	if failed != nil && !owned.IsConflict(failed) {
		failures.WithLabelValues(cmp.Or(reason, "Error")).Inc()
	}
	if failed != nil && reason == "" {
		return owned.Again(failed)
	}
	before := key.Status.DeepCopy()
	tellAccepted(key, now)
	if failed != nil {
		set(key, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, failed.Error(), now)
	} else {
		set(key, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "a key signs, and the key set is published", now)
	}
	if ring != nil {
		tellAcknowledged(key, made, ring.Rotation())
		tellIntact(key, ring, now)
		tellConsistent(key, made, ring.Rotation())
		describe(key, made, ring)
		observeRing(key, ring.Rotation())
	}
	if !key.DeletionTimestamp.IsZero() {
		set(key, v1alpha1.ConditionDeletable, metav1.ConditionFalse, v1alpha1.ReasonInUse, "it is being deleted, and goes on as ever until nobody refers to it: "+made.refs.String(), now)
	}
	observeReady(client.ObjectKeyFromObject(key), failed == nil)
	if !equality.Semantic.DeepEqual(before, &key.Status) {
		if err := r.Client.Status().Update(ctx, key); err != nil {
			return owned.Again(fmt.Errorf("write the status: %w", err))
		}
		r.tell(ctx, key, before, made, ring)
	}
	switch {
	case reason == v1alpha1.ReasonUnreadable:
		return reconcile.Result{}, nil // a change of the Secret wakes us
	case failed != nil:
		return owned.Again(failed)
	}
	return reconcile.Result{RequeueAfter: made.plan.NextCheck.Sub(now)}, nil
}

// tell tells of what has changed in the status, in events and in the log. What happened to keys is announced where it is stored.
func (r *Reconciler) tell(ctx context.Context, key *v1alpha1.SigningKey, before *v1alpha1.SigningKeyStatus, made decision, ring *signing.Ring) {
	told := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionConsistent, v1alpha1.ConditionDeletable}
	after := slices.DeleteFunc(slices.Clone(key.Status.Conditions), func(c metav1.Condition) bool {
		news := meta.FindStatusCondition(before.Conditions, c.Type) != nil || c.Status != metav1.ConditionTrue
		unreadable := c.Type == v1alpha1.ConditionReady && c.Reason == v1alpha1.ReasonUnreadable
		return !unreadable && (!news || !slices.Contains(told, c.Type))
	})
	transition.Tell(ctx, r.Events, key, before.Conditions, after)
	if before.WaitingForCount == 0 && key.Status.WaitingForCount > 0 {
		r.Events.Eventf(key, nil, corev1.EventTypeWarning, eventKeyWaiting, "Rotate",
			"key %s is due to sign and waits, until %s at the latest, for %d pods that have not reported it: %s", made.plan.Due,
			deadline(key, ring.Rotation()).UTC().Format(time.RFC3339), made.heard.count(), made.heard)
	}
}

// refusal is the condition reason of a failure that only a change of some object can mend; "" for all others.
func refusal(err error) string {
	var unreadable *unreadableError
	var gone *goneError
	if errors.As(err, &unreadable) || errors.As(err, &gone) {
		return v1alpha1.ReasonUnreadable
	}
	return owned.Refusal(err)
}

func tellAccepted(key *v1alpha1.SigningKey, now time.Time) {
	if allowed := key.Spec.AllowedNamespaces; allowed.From == v1alpha1.FromSelector {
		if _, err := metav1.LabelSelectorAsSelector(allowed.Selector); err != nil {
			set(key, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid,
				fmt.Sprintf("allowedNamespaces.selector: %v; no other namespace is allowed, and all else is kept as asked", err), now)
			return
		}
	}
	set(key, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the keys are kept as asked", now)
}

// tellAcknowledged says how the key that signs came to sign, as the ring has it. Who had not reported it is told once, when it begins to.
func tellAcknowledged(key *v1alpha1.SigningKey, made decision, ring rotation.Ring) {
	active, _ := ring.Active()
	tell := func(status metav1.ConditionStatus, reason, format string, args ...any) {
		message := fmt.Sprintf("key %s %s", active.ID, fmt.Sprintf(format, args...))
		told := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionAcknowledged)
		if _, begins := made.activation(); !begins && told != nil && told.Reason == reason && strings.HasPrefix(told.Message, "key "+active.ID+" ") {
			message = told.Message
		}
		set(key, v1alpha1.ConditionAcknowledged, status, reason, message, made.now)
	}
	_, begins := made.activation()
	switch why := active.ActivatedBy; {
	case why == rotation.Due:
		tell(metav1.ConditionTrue, v1alpha1.ReasonAcknowledged, "was reported by every ready pod that depends on it before it signed")
	case why == rotation.Unacknowledged && begins:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUnacknowledged, "signs although %d pods had not reported it within %s: %s",
			made.heard.count(), schedule(key.Spec).AcknowledgeWithin, made.heard)
	case why == rotation.Unacknowledged:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUnacknowledged, "signs although some pods had not reported it in time: the event %s names them", eventKeyActivatedUnacknowledged)
	case why == rotation.Restored:
		tell(metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "signs, and the ring was put back since it began to")
	default:
		tell(metav1.ConditionTrue, v1alpha1.ReasonNotAwaited, "had to sign at once, and nobody was asked")
	}
}

// tellIntact says whether some keys have left the Secret otherwise than by rotation, and can still verify.
func tellIntact(key *v1alpha1.SigningKey, ring *signing.Ring, now time.Time) {
	lost := ring.Lost()
	if len(lost) == 0 {
		set(key, v1alpha1.ConditionIntact, metav1.ConditionTrue, v1alpha1.ReasonIntact, "the private half of each key is there", now)
		return
	}
	set(key, v1alpha1.ConditionIntact, metav1.ConditionFalse, v1alpha1.ReasonKeysLost, fmt.Sprintf(
		"of %s only the public half is left: tokens that they signed are taken until the end of each in status.keys; revokedKeyIDs ends that at once", listed(lost)), now)
}

// tellConsistent says whether the spec fits the ring and those who refer to it. It wants the status from before.
func tellConsistent(key *v1alpha1.SigningKey, made decision, ring rotation.Ring) {
	var reason string
	var messages []string
	complain := func(why, format string, args ...any) {
		reason, messages = cmp.Or(reason, why), append(messages, fmt.Sprintf(format, args...))
	}
	retain := key.Spec.Retain.Duration
	for i := range made.refs.issuers {
		if issuer := &made.refs.issuers[i]; retain < issuer.LeastRetain() && len(messages) < maxNames {
			complain(v1alpha1.ReasonRetainTooShort,
				"retain: is %s, and TokenIssuer %q needs at least %s (its accessToken.ttl plus a minute): raise retain or lower the ttl; meanwhile the TokenIssuer is not set up "+
					"anew, and tokens that outlive the key which signed them are refused", retain, issuer.Name, issuer.LeastRetain())
		}
	}
	if unknown := unknownRevocations(key, made, ring); len(unknown) > 0 {
		complain(v1alpha1.ReasonUnknownKeyIDs,
			"revokedKeyIDs: %s: never seen in this ring, so nothing was revoked; they are mistyped, of another SigningKey, or left by themselves before: status.keys has the ids that there are",
			listed(unknown))
	}
	if _, next := ring.Pending(); len(ring) >= rotation.MaxKeys && !next {
		complain(v1alpha1.ReasonRingFull, "retain: the ring holds %d keys, and verifiers take no more; the next key is made when one of them has left: retain them for less long, or revoke some",
			len(ring))
	}
	if reason == "" {
		set(key, v1alpha1.ConditionConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent, "the spec fits the ring and those who refer to it", made.now)
		return
	}
	set(key, v1alpha1.ConditionConsistent, metav1.ConditionFalse, reason, strings.Join(messages, "; "), made.now)
}

// revocations are those of spec.revokedKeyIDs that were in the ring: they are noted, or they were told of just before.
func revocations(key *v1alpha1.SigningKey, made decision) []string {
	var done []string
	for _, id := range key.Spec.RevokedKeyIDs {
		told := slices.ContainsFunc(key.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KeyID == id })
		removed := slices.ContainsFunc(made.plan.Steps, func(s rotation.Step) bool { return s.Kind == rotation.Remove && s.ID == id })
		if told || removed || slices.Contains(key.Status.RevokedKeyIDs, id) {
			done = append(done, id)
		}
	}
	return done
}

func unknownRevocations(key *v1alpha1.SigningKey, made decision, ring rotation.Ring) []string {
	done := revocations(key, made)
	return slices.DeleteFunc(slices.Clone(key.Spec.RevokedKeyIDs), func(id string) bool {
		return slices.Contains(done, id) || slices.ContainsFunc(ring, func(k rotation.Key) bool { return k.ID == id })
	})
}

// listed puts key ids into words, which are bounded.
func listed(ids []string) string {
	shown := ids[:min(maxNames, len(ids))]
	quoted := make([]string, len(shown))
	for i, id := range shown {
		quoted[i] = strconv.Quote(id)
	}
	text := strings.Join(quoted, ", ")
	if more := len(ids) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
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
func describe(key *v1alpha1.SigningKey, made decision, stored *signing.Ring) {
	status, ring := &key.Status, stored.Rotation()
	status.RevokedKeyIDs, status.RingSerial = revocations(key, made), stored.Serial()
	status.ActiveKeyID, status.ActiveSince, status.NextRotation, status.Keys = "", nil, nil, nil
	status.WaitingFor, status.WaitingForCount = nil, 0
	if made.plan.Waits() {
		status.WaitingFor, status.WaitingForCount = made.heard.named(), int32(made.heard.count()) //nolint:gosec // pods of a cluster
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
	eventKeyImported  = "KeyImported"
	eventKeysLost     = "KeysLost"
	eventRingRestored = "RingRestored"

	eventKeyWaiting                 = "KeyWaiting"
	eventKeyActivatedUnacknowledged = "KeyActivatedUnacknowledged"
)

// announce tells of each key that changed its role, in events and metrics. Before it is called the change has been stored.
func (r *Reconciler) announce(key *v1alpha1.SigningKey, made decision, seen *observed, after rotation.Ring) {
	before := seen.ring.Rotation()
	tell := func(eventType, reason, note string, args ...any) {
		r.Events.Eventf(key, nil, eventType, reason, "Rotate", "%s", transition.Note(fmt.Sprintf(note, args...)))
		transitions.WithLabelValues(reason).Inc()
	}
	find := func(ring rotation.Ring, id string) (rotation.Key, bool) {
		i := slices.IndexFunc(ring, func(k rotation.Key) bool { return k.ID == id })
		if i < 0 {
			return rotation.Key{}, false
		}
		return ring[i], true
	}
	if gone := seen.recovery.gone; len(gone) > 0 {
		tell(corev1.EventTypeWarning, eventKeysLost,
			"Secret %q does not hold %s any more, and what was published of them is lost as well: every token that they signed is refused from now on", signingName(key), listed(gone))
	}
	if kept := seen.recovery.kept; len(kept) > 0 {
		var ids []string
		for _, k := range kept {
			ids = append(ids, k.ID)
		}
		tell(corev1.EventTypeWarning, eventKeysLost,
			"Secret %q does not hold %s any more: they sign no more, and what they have signed is taken until their end in status.keys", signingName(key), listed(ids))
	}
	if seen.recovery.corrected {
		tell(corev1.EventTypeWarning, eventRingRestored, "Secret %q held an older ring, or an edited one: its keys were put where they had been", signingName(key))
	}
	if seen.imports {
		tell(corev1.EventTypeNormal, eventKeyImported, "Secret %q was taken over, and its keys with it", signingName(key))
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
			made.plan.Due, made.heard.count(), made.heard)
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
