package serving

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

// AuthoritySecret is the name of the Secret, in the manager's own namespace, that holds the certificate authority.
const AuthoritySecret = "latchkey-ca"

// Authority returns the certificate authority that all replicas of the manager share, and makes it where there is none. One that cannot be
// read is never replaced: what it has issued is trusted all over the cluster, and only a person can tell whether that shall end.
func Authority(ctx context.Context, c client.Client, namespace string, now time.Time) (*pki.CA, error) {
	key := client.ObjectKey{Namespace: namespace, Name: AuthoritySecret}
	var secret corev1.Secret
	err := c.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		err = create(ctx, c, key, now)
		if err == nil || apierrors.IsAlreadyExists(err) { // made by another replica just now: theirs counts
			err = c.Get(ctx, key, &secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	ca, err := pki.ParseCA(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("certificate authority: Secret %s: %w; restore it from a backup, or delete it to have a new one made", key, err)
	}
	return ca, nil
}

func create(ctx context.Context, c client.Client, key client.ObjectKey, now time.Time) error {
	ca, err := pki.NewCA(now)
	if err != nil {
		return err
	}
	return c.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "latchkey", "app.kubernetes.io/component": "manager"},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: ca.CertPEM(), corev1.TLSPrivateKeyKey: ca.KeyPEM()},
	})
}
