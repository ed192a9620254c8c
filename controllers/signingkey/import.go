package signingkey

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// importable returns the Secret that the SigningKey asks to be taken over, or refused: the reason why a Secret of its name is not its own.
func (r *Reconciler) importable(ctx context.Context, key *v1alpha1.SigningKey, refused error) (*corev1.Secret, error) {
	asked := key.Annotations[v1alpha1.AnnotationImport]
	if asked == "" || !key.DeletionTimestamp.IsZero() {
		return nil, refused
	}
	secret := &corev1.Secret{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: signingName(key)}, secret); err != nil {
		return nil, err
	}
	if string(secret.UID) != asked || metav1.GetControllerOf(secret) != nil {
		return nil, refused
	}
	return secret, nil
}

// imported is the ring that a Secret from elsewhere stands for: the one that it holds, or a new one with its private key.
func imported(key *v1alpha1.SigningKey, secret *corev1.Secret, now time.Time) (*signing.Ring, error) {
	if whole, ok := secret.Data[signing.RingFile]; ok {
		return signing.ParseRing(whole)
	}
	private, keyID := secret.Data[signing.PrivateFile], strings.TrimSpace(string(secret.Data[signing.KeyIDFile]))
	algorithm := strings.TrimSpace(string(secret.Data[signing.AlgorithmFile]))
	if algorithm == "" {
		algorithm = string(key.Spec.Algorithm)
		if _, err := signing.Import(private, "", algorithm, now); err != nil { // it is for keys of another kind
			algorithm = ""
		}
	}
	ring, err := signing.Import(private, keyID, algorithm, now)
	if err != nil {
		return nil, err
	}
	return ring.With(max(ring.Serial(), key.Status.RingSerial), ring.Rotation()) // it is not an older ring than what was there before
}
