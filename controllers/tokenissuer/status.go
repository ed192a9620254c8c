package tokenissuer

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/transition"
)

// verdict is a condition in the making.
type verdict struct{ reason, message string }

func (v verdict) accepted() bool { return v.reason == v1alpha1.ReasonAccepted }

// judge decides whether a token service can be run as its TokenIssuer says.
func judge(issuer *v1alpha1.TokenIssuer, seen *observed) verdict {
	spec := issuer.Spec
	if seen.signingKey == nil {
		return verdict{v1alpha1.ReasonRefNotFound, fmt.Sprintf("signingKeyRef: SigningKey %q does not exist", spec.SigningKeyRef.Name)}
	}
	if retain, least := seen.signingKey.Spec.Retain.Duration, issuer.LeastRetain(); retain < least {
		return verdict{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"accessToken.ttl: needs SigningKey %q to have retain of at least %s (ttl plus a minute), not %s: tokens would outlive their keys",
			seen.signingKey.Name, least, retain)}
	}
	if _, err := renderConfig(issuer, seen.accounts); err != nil {
		return verdict{v1alpha1.ReasonInvalid, err.Error()}
	}
	if len(seen.missing) > 0 {
		return verdict{v1alpha1.ReasonRefNotFound, fmt.Sprintf("%s: Secret %q does not exist", seen.missing[0].path, seen.missing[0].name)}
	}
	if seen.signingKey.Status.ActiveKeyID == "" {
		return verdict{v1alpha1.ReasonRefNotReady, fmt.Sprintf("signingKeyRef: SigningKey %q has no key that signs yet", spec.SigningKeyRef.Name)}
	}
	return verdict{v1alpha1.ReasonAccepted, "the token service is set up as asked"}
}

// readiness says whether the token service answers, set up as asked. Its reason is the one that decides: what is not accepted comes first.
func readiness(seen *observed, accepted verdict, applied error) verdict {
	ready := seen.deployment.Status.ReadyReplicas > 0
	switch {
	case !accepted.accepted() && owned.Refusal(applied) != "":
		return verdict{accepted.reason, fmt.Sprintf("see Accepted; and %v", applied)}
	case !accepted.accepted() && ready:
		return verdict{accepted.reason, "the token service answers, as it was set up before: see Accepted"}
	case !accepted.accepted():
		return verdict{accepted.reason, "not set up: see Accepted"}
	case owned.Refusal(applied) != "":
		return verdict{owned.Refusal(applied), applied.Error()}
	case ready:
		return verdict{v1alpha1.ReasonReady, "the token service answers"}
	case seen.claim.Name != "" && seen.claim.Status.Phase != corev1.ClaimBound:
		return verdict{v1alpha1.ReasonProgressing, unbound(seen.claim)}
	default:
		return verdict{v1alpha1.ReasonProgressing, fmt.Sprintf("waiting for the pod of Deployment %q to become ready", seen.deployment.Name)}
	}
}

// unbound says which volume is waited for, and of which class: of a class that does not exist nobody makes one.
func unbound(claim *corev1.PersistentVolumeClaim) string {
	class := "without a storage class: the cluster has no default, or the volume must be made by hand"
	if name := ptr.Deref(claim.Spec.StorageClassName, ""); name != "" {
		class = fmt.Sprintf("of storage class %q", name)
	}
	return fmt.Sprintf("waiting for PersistentVolumeClaim %q, %s, to be bound to a volume; `kubectl describe` tells why it is not", claim.Name, class)
}

// report writes the status, if it has changed, and says when to come back.
func (r *Reconciler) report(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observed, accepted verdict, renewIn time.Duration, applied error) (reconcile.Result, error) {
	if applied != nil && owned.Refusal(applied) == "" {
		return owned.Again(applied)
	}
	before := issuer.Status.DeepCopy()
	ready := readiness(seen, accepted, applied)
	set(issuer, v1alpha1.ConditionAccepted, accepted, accepted.accepted(), r.Clock.Now())
	set(issuer, v1alpha1.ConditionReady, ready, ready.reason == v1alpha1.ReasonReady, r.Clock.Now())
	issuer.Status.ReadyReplicas = seen.deployment.Status.ReadyReplicas
	issuer.Status.URL = fmt.Sprintf("https://%s:%d", host(issuer), servicePort)
	if !equality.Semantic.DeepEqual(before, &issuer.Status) {
		if err := r.Client.Status().Update(ctx, issuer); err != nil {
			return owned.Again(fmt.Errorf("write the status: %w", err))
		}
		transition.Tell(ctx, r.Events, issuer, before.Conditions, issuer.Status.Conditions)
	}
	if applied != nil {
		return owned.Again(applied)
	}
	if len(issuer.Spec.Login.TrustedBackends) > 0 {
		renewIn = min(renewIn, lookAtAccounts)
	}
	return reconcile.Result{RequeueAfter: max(renewIn, 0)}, nil
}

func set(issuer *v1alpha1.TokenIssuer, condition string, v verdict, holds bool, now time.Time) {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&issuer.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: v.reason, Message: v.message,
		ObservedGeneration: issuer.Generation, LastTransitionTime: metav1.NewTime(now),
	})
}
