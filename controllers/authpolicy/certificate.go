package authpolicy

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// certificate is what a policy's tls refers to, as found in the cluster. Both nil: the policy has no tls.
type certificate struct {
	found   *bundle.Certificate
	missing *problem // why it is not there
}

// findCertificate reads the Secret, and vets it with what the sidecar will read it with. An error means that nobody knows.
func (r *Reconciler) findCertificate(ctx context.Context, namespace, name string) (certificate, error) {
	lacking := func(reason, format string, args ...any) (certificate, error) {
		return certificate{missing: &problem{reason, fmt.Sprintf("tls.secretName: Secret %q ", name) + fmt.Sprintf(format, args...)}}, nil
	}
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return lacking(v1alpha1.ReasonRefNotFound, "does not exist")
	case err != nil:
		return certificate{}, fmt.Errorf("read the Secret of tls: %w", err)
	case secret.Type != corev1.SecretTypeTLS: // so that a policy cannot bring any Secret of the namespace into its pods
		return lacking(v1alpha1.ReasonRefNotReady, "is of type %q, not %s", secret.Type, corev1.SecretTypeTLS)
	}
	found := &bundle.Certificate{Chain: string(secret.Data[corev1.TLSCertKey]), Key: secret.Data[corev1.TLSPrivateKeyKey], Secret: name}
	if _, err := found.Pair(); err != nil {
		return lacking(v1alpha1.ReasonRefNotReady, "does not hold a certificate with its key: %v", err)
	}
	return certificate{found: found}, nil
}

// warnBefore is how long before its end a certificate is said to expire: 14 days, but no more than a fifth of its lifetime.
func warnBefore(lifetime time.Duration) time.Duration { return min(14*24*time.Hour, lifetime/5) }

// reportCertificate sets the condition about the certificate in force, and returns when to look at it again; 0: there is nothing to wait for.
func reportCertificate(policy *v1alpha1.AuthPolicy, inForce *bundle.Certificate, now time.Time) time.Duration {
	if inForce == nil {
		meta.RemoveStatusCondition(&policy.Status.Conditions, v1alpha1.ConditionCertificateFresh)
		return 0
	}
	pair, err := inForce.Pair()
	if err != nil {
		return 0 // not reached: it was vetted
	}
	end := pair.Leaf.NotAfter
	warn := end.Add(-warnBefore(end.Sub(pair.Leaf.NotBefore)))
	condition := metav1.Condition{
		Type: v1alpha1.ConditionCertificateFresh, ObservedGeneration: policy.Generation, LastTransitionTime: metav1.NewTime(now),
	}
	var look time.Duration
	switch expiry := end.UTC().Format(time.RFC3339); {
	case !now.Before(end):
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonExpired
		condition.Message = fmt.Sprintf("the certificate of Secret %q expired at %s; callers refuse it", inForce.Secret, expiry)
	case !now.Before(warn):
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonExpiresSoon
		condition.Message = fmt.Sprintf("the certificate of Secret %q expires at %s", inForce.Secret, expiry)
		look = end.Sub(now)
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonFresh
		condition.Message = fmt.Sprintf("the certificate of Secret %q is good until %s", inForce.Secret, expiry)
		look = warn.Sub(now)
	}
	meta.SetStatusCondition(&policy.Status.Conditions, condition)
	return look
}
